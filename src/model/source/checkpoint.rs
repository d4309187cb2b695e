//! A Hugging Face snapshot folder: `config.json`, `model.safetensors`, `tokenizer.json`.

use std::path::Path;

use rand_distr::{Distribution, Normal};
use regatta_actors::random::StreamKey;

use crate::base::file_error::FileError;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;
use crate::model::config::{Family, ModelConfig};
use crate::model::source::soundness;

/// A pretrained model on the host: configuration and float32 tensors under their full names.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The architecture.
    pub config: ModelConfig,
    /// The frozen tensors; without the classification head.
    pub base: TensorMap,
    /// The classification head, as the file has it or freshly drawn.
    pub head: TensorMap,
    /// Names of the tensors that the file lacks and that were drawn instead.
    pub fresh: Vec<String>,
}

impl Checkpoint {
    /// Reads a snapshot for a task with N outputs. What the file lacks of head and pooler is
    /// drawn as transformers draws it, normal with `initializer_range` and zero biases, from the
    /// run's seed. A head with another number of outputs counts as lacking.
    ///
    /// # Errors
    /// If a file is missing or unreadable, or of an unknown architecture; and when the tensors
    /// are not those of `config.json`, or not finite ([`ModelError::File`]).
    pub fn read(folder: &Path, labels: i64, seed: u64) -> Result<Self, ModelError> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let path = folder.join("model.safetensors");
        let mut base = canonical(TensorMap::read(&path)?, config.family);
        let unsound = |reason: String| FileError::content(&path, reason);
        soundness::check(&base, &config, &path).map_err(unsound)?;
        let take = |base: &mut TensorMap, name: &str, shape: &[i64]| {
            let found = base.0.remove(name);
            found.filter(|tensor| tensor.shape() == shape)
        };
        let (mut head, mut fresh) = (TensorMap::default(), Vec::new());
        for (name, shape) in config.head_tensors(labels) {
            let found = take(&mut base, &name, &shape);
            if let Some(tensor) = &found {
                soundness::check_finite(&name, tensor).map_err(unsound)?;
            }
            head.insert(
                &name,
                take_or_draw(found, &name, &shape, &config, seed, &mut fresh),
            );
        }
        if config.family == Family::Bert {
            let h = config.hidden_size;
            for (name, shape) in [("weight", vec![h, h]), ("bias", vec![h])] {
                let name = format!("bert.pooler.dense.{name}");
                let found = take(&mut base, &name, &shape);
                let tensor = take_or_draw(found, &name, &shape, &config, seed, &mut fresh);
                base.insert(&name, tensor);
            }
        }
        Ok(Self {
            config,
            base,
            head,
            fresh,
        })
    }
}

fn take_or_draw(
    found: Option<HostTensor>,
    name: &str,
    shape: &[i64],
    config: &ModelConfig,
    seed: u64,
    fresh: &mut Vec<String>,
) -> HostTensor {
    found.unwrap_or_else(|| {
        fresh.push(name.to_owned());
        let mut tensor = HostTensor::full(shape, 0.0);
        if name.ends_with("weight") {
            draw_normal(tensor.values_mut(), config.initializer_range, name, seed);
        }
        tensor
    })
}

/// Fills values with normal draws that are keyed by the seed and the tensor's name.
pub(crate) fn draw_normal(values: &mut [f32], spread: f64, name: &str, seed: u64) {
    let key = StreamKey {
        seed,
        purpose: "fresh weights",
        name,
        round: 0,
        attempt: 0,
    };
    let mut stream = key.stream();
    // A negative or infinite spread cannot be drawn from; zeros are what is left of it.
    if let Ok(normal) = Normal::new(0.0, spread) {
        values.fill_with(|| normal.sample(&mut stream) as f32);
    }
}

/// Names as the classifier with a head has them: the encoder under the family's prefix, layer
/// norms by `weight` and `bias` (old checkpoints say `gamma` and `beta`).
fn canonical(tensors: TensorMap, family: Family) -> TensorMap {
    let prefix = format!("{}.", family.prefix());
    let rename = |(name, tensor): (String, HostTensor)| {
        let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
        let name = name.replace("LayerNorm.beta", "LayerNorm.bias");
        let inner = ["embeddings.", "encoder.", "pooler."]
            .iter()
            .any(|p| name.starts_with(p));
        (
            if inner {
                format!("{prefix}{name}")
            } else {
                name
            },
            tensor,
        )
    };
    // The classifier of RoBERTa has no use for the encoder's pooler.
    let needed = |name: &str| {
        let encoder = name.starts_with(&prefix) && !name.starts_with("roberta.pooler.");
        encoder || name.starts_with("classifier.")
    };
    tensors
        .0
        .into_iter()
        .map(rename)
        .filter(|(name, _)| needed(name))
        .collect()
}
