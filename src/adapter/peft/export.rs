//! An adapter written as PEFT writes it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::adapter::peft::config::{OneOrMany, PeftConfig, PeftError};
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::peft::{PREFIX, PROJECTION};
use crate::adapter::projection::Projection;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::target_modules::TargetModules;
use crate::adapter::targets::ends_in;
use crate::adapter::vera::LAMBDA_B;
use crate::adapter::{lora, sorf};
use crate::base::file_error::FileError;
use crate::base::files;
use crate::base::tensors::{TensorError, TensorMap};
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::location::ModelSource;

/// An error while a model is written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tensor cannot be taken to or from a device.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The adapter that is to be written cannot be read.
    #[error(transparent)]
    Adapter(#[from] PeftError),
    /// The pretrained model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be exported.
    #[error("{0}")]
    Refused(String),
}

/// The two files of an adapter's folder.
///
/// LoRA and VeRA are in PEFT's own form. SORF-VeRA, which PEFT does not know, is in the same
/// layout under a separate type; `regatta export` makes a LoRA of it.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config: PeftConfig,
    /// Adapter tensors and modules saved in full, by their full names in the model.
    pub tensors: TensorMap,
    /// VeRA's projection, where it is saved with its vectors.
    pub projection: Option<Projection>,
}

impl AdapterFiles {
    /// The adapter, head and other trained tensors of a model that started from `model`.
    ///
    /// A scaling that PEFT's VeRA lacks (rsVeRA's) is merged into b. Layers are named as the plan
    /// names them where PEFT finds the same by these names, otherwise each by its full name.
    #[must_use]
    pub fn of(
        adapter: &AdapterPlan,
        model: &ModelSource,
        objective: &Objective,
        trained: &TensorMap,
    ) -> Self {
        let mut tensors = trained.clone();
        let scaling = adapter.scaling(adapter.r) as f32;
        let merged = tensors
            .0
            .iter_mut()
            .filter(|(name, _)| name.ends_with(LAMBDA_B));
        for (_, tensor) in merged {
            let values = tensor.values_mut().iter_mut();
            values.for_each(|value| *value *= scaling);
        }
        let mut config = PeftConfig::of(adapter, &model.to_string(), objective);
        let same_in_peft = match &adapter.target_modules {
            Some(TargetModules::Names(names)) => !names.iter().any(|name| leaves_encoder(name)),
            Some(TargetModules::AllLinear | TargetModules::Regex(_)) | None => false,
        };
        if !same_in_peft {
            let adapted = adapted_modules(&tensors).into_iter().map(str::to_owned);
            config.target_modules = Some(OneOrMany::Many(adapted.collect()));
            config.layers_to_transform = None;
            config.layers_pattern = None;
        }
        Self {
            config,
            tensors,
            projection: None,
        }
    }

    /// Adds VeRA's projection to its vectors, as `save_projection` does.
    #[must_use]
    pub fn with_projection(mut self, projection: &Projection) -> Self {
        self.projection = Some(projection.clone());
        self
    }

    /// Adds base tensors that the pretrained model lacks and that were drawn for this run: whoever
    /// loads the adapter would draw others. Of an encoder, that is BERT's or DeBERTa's `pooler`, or
    /// ModernBERT's `head`.
    #[must_use]
    pub fn with_drawn(mut self, checkpoint: &Checkpoint) -> Self {
        for name in &checkpoint.fresh {
            if let Some(tensor) = checkpoint.base.get(name) {
                // `bert.pooler.dense.weight`, `head.norm.weight`.
                let module = name.rsplit('.').nth(2).unwrap_or(name);
                self.config.save_module(module);
                let held = self.tensors.0.entry(name.clone());
                held.or_insert_with(|| tensor.clone());
            }
        }
        self
    }

    /// Saves a trained table of embeddings as the output too where the two are one: PEFT makes a
    /// copy of each module that it trains.
    #[must_use]
    pub fn with_tied_output(mut self, model: &dyn Architecture) -> Self {
        if let Some([table, output]) = model.tied_output()
            && let Some(trained) = self.tensors.get(table).cloned()
        {
            self.tensors.insert(output, trained);
            self.config.save_module(output.trim_end_matches(".weight"));
        }
        self
    }

    /// Writes `adapter_model.safetensors` and `adapter_config.json`.
    ///
    /// # Errors
    /// If the folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        files::make_folder(folder)?;
        self.saved()
            .write(&folder.join("adapter_model.safetensors"))?;
        write_json(&folder.join("adapter_config.json"), &self.config)
    }

    /// The tensors under the names of the file.
    fn saved(&self) -> TensorMap {
        let adapted = adapted_modules(&self.tensors);
        let rename = |(name, tensor): (&str, &_)| {
            let name = peft_name(name, &adapted);
            (format!("{PREFIX}{name}"), Clone::clone(tensor))
        };
        let mut saved: TensorMap = self.tensors.iter().map(rename).collect();
        if let Some(projection) = &self.projection {
            let [a, b] = PROJECTION;
            saved.insert(a, projection.a.clone());
            saved.insert(b, projection.b.clone());
        }
        saved
    }
}

/// Writes a value as readable JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| FileError::content(path, error.to_string()))?;
    files::write_atomically(path, format!("{text}\n").as_bytes())
}

impl From<PeftFolder> for AdapterFiles {
    fn from(folder: PeftFolder) -> Self {
        Self {
            config: folder.config,
            tensors: folder.tensors,
            projection: folder.projection,
        }
    }
}

/// Whether a target's name also matches a layer outside the encoder, which PEFT would then adapt
/// too.
fn leaves_encoder(target: &str) -> bool {
    let outside = [
        "bert.pooler.dense",
        "classifier.dense",
        "classifier.out_proj",
        "head.dense",
        "pre_classifier",
    ];
    outside.iter().any(|module| ends_in(module, target))
}

/// The modules that have an adapter.
fn adapted_modules(tensors: &TensorMap) -> BTreeSet<&str> {
    let module = |name| {
        [lora::A, LAMBDA_B, sorf::SCALE]
            .into_iter()
            .find_map(|suffix| str::strip_suffix(name, suffix)?.strip_suffix('.'))
    };
    tensors
        .iter()
        .filter_map(|(name, _)| module(name))
        .collect()
}

/// The name as PEFT saves it: a trained bias of an adapted layer is stored in the layer that it
/// wraps.
fn peft_name(name: &str, adapted: &BTreeSet<&str>) -> String {
    match name.strip_suffix(".bias") {
        Some(module) if adapted.contains(module) => format!("{module}.base_layer.bias"),
        _ => name.to_owned(),
    }
}
