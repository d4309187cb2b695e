//! A model whose weights are drawn, as transformers draws those of a model without a checkpoint.

use crate::base::allocator;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;
use crate::model::config::{Family, ModelConfig};
use crate::model::config_json::MOST_WEIGHTS;
use crate::model::source::checkpoint::{Checkpoint, draw_normal};

impl Checkpoint {
    /// Draws all weights from the seed: normal with `initializer_range`, biases 0, layer norms 1,
    /// and 0 for the padding's rows of the embeddings that have one (`padding_idx`). Each tensor
    /// is a function of the seed, its name and its shape.
    ///
    /// # Errors
    /// If the model would be too large to be meant, or for this machine.
    pub fn random(config: ModelConfig, labels: i64, seed: u64) -> Result<Self, ModelError> {
        let (base, head) = (config.base_tensors(), config.head_tensors(labels));
        let weights = config.base_weights();
        let bytes = u64::try_from(weights).unwrap_or(0).saturating_mul(4);
        if weights > MOST_WEIGHTS {
            return Err(ModelError::Refused(format!(
                "the architecture has {weights} weights, but at most {MOST_WEIGHTS} are supported; \
                 check its sizes"
            )));
        }
        allocator::require(bytes).map_err(ModelError::Refused)?;
        let draw = |tensors: Vec<(String, Vec<i64>)>| -> TensorMap {
            let draw = |(name, shape): (String, Vec<i64>)| {
                let tensor = draw(&name, &shape, &config, seed);
                (name, tensor)
            };
            tensors.into_iter().map(draw).collect()
        };
        let (base, head) = (draw(base), draw(head));
        Ok(Self {
            config,
            base,
            head,
            fresh: Vec::new(),
        })
    }
}

fn draw(name: &str, shape: &[i64], config: &ModelConfig, seed: u64) -> HostTensor {
    if name.ends_with(".bias") {
        return HostTensor::full(shape, 0.0);
    }
    if name.ends_with("LayerNorm.weight") {
        return HostTensor::full(shape, 1.0);
    }
    let mut tensor = HostTensor::full(shape, 0.0);
    draw_normal(tensor.values_mut(), config.initializer_range, name, seed);
    let padded = match config.family {
        Family::Roberta => ["word_embeddings.weight", "position_embeddings.weight"].as_slice(),
        Family::Bert => &["word_embeddings.weight"],
    };
    if let Some(pad) = config.pad_token_id
        && padded.iter().any(|end| name.ends_with(end))
    {
        let row = (pad * config.hidden_size) as usize;
        tensor.values_mut()[row..row + config.hidden_size as usize].fill(0.0);
    }
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::architecture::Architecture;

    fn tiny(family: Family) -> ModelConfig {
        let mut config = Architecture::Named("roberta-base").config().unwrap();
        config.family = family;
        (config.vocab_size, config.max_position_embeddings) = (50, 12);
        (config.hidden_size, config.intermediate_size) = (16, 32);
        (config.num_hidden_layers, config.num_attention_heads) = (2, 2);
        config
    }

    #[test]
    fn weights_are_normal_biases_zero_norms_one_and_the_paddings_rows_zero() {
        let checkpoint = Checkpoint::random(tiny(Family::Roberta), 2, 1).unwrap();
        let of = |name: &str| checkpoint.base.get(name).unwrap().values();
        let layer = "roberta.encoder.layer.1.attention";
        assert!(
            of(&format!("{layer}.self.query.bias"))
                .iter()
                .all(|x| *x == 0.0)
        );
        assert!(
            of(&format!("{layer}.output.LayerNorm.weight"))
                .iter()
                .all(|x| *x == 1.0)
        );
        let dense = of("roberta.encoder.layer.0.intermediate.dense.weight");
        let variance = dense.iter().map(|x| f64::from(x * x)).sum::<f64>() / dense.len() as f64;
        assert!((variance.sqrt() - 0.02).abs() < 0.002, "{variance}");
        for table in ["word_embeddings", "position_embeddings"] {
            let table = of(&format!("roberta.embeddings.{table}.weight"));
            assert!(table[16..32].iter().all(|x| *x == 0.0));
            assert!(table[..16].iter().all(|x| *x != 0.0));
        }
        let head = checkpoint.head.get("classifier.dense.weight").unwrap();
        assert!(head.values().iter().any(|x| *x != 0.0));
    }

    #[test]
    fn a_seed_gives_the_same_weights_and_another_seed_others() {
        let drawn = |seed| Checkpoint::random(tiny(Family::Bert), 3, seed).unwrap();
        let (one, again, other) = (drawn(1), drawn(1), drawn(2));
        assert_eq!((&one.base, &one.head), (&again.base, &again.head));
        assert_ne!(one.base, other.base);
    }

    #[test]
    fn every_tensor_of_the_classifier_is_there() {
        use crate::model::heads::classifier::Classifier;
        use crate::model::weights::{View, Weights};
        for family in [Family::Roberta, Family::Bert] {
            let checkpoint = Checkpoint::random(tiny(family), 2, 1).unwrap();
            let mut all = checkpoint.base;
            all.0.extend(checkpoint.head.0);
            let weights = Weights::from_map(&all, tch::Device::Cpu).unwrap();
            Classifier::new(&View::new(&weights), &checkpoint.config, 2).unwrap();
        }
    }

    #[test]
    fn sizes_beyond_all_measure_are_refused() {
        let mut config = tiny(Family::Bert);
        config.vocab_size = i64::MAX / 4;
        let error = Checkpoint::random(config, 2, 1).unwrap_err();
        assert!(error.to_string().contains("check its sizes"), "{error}");
    }
}
