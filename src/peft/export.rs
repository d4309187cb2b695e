//! An adapter written as PEFT writes it.

use std::path::{Path, PathBuf};

use super::config::{OneOrMany, PeftConfig, PeftType};
use super::{PREFIX, PROJECTION};
use crate::adapter::vera::LAMBDA_B;
use crate::config::{AdapterKind, AdapterPlan, Bias, Plan};
use crate::federation::payload::Snapshot;
use crate::files::write_atomically;
use crate::tensors::{TensorError, TensorMap};

/// What can go wrong while a model is written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A tensor file cannot be written.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The two files of an adapter's folder.
///
/// LoRA and VeRA are in PEFT's own form. SORF-VeRA, which PEFT does not know, is in the same
/// layout under a type of its own; `regatta export` makes a LoRA of it.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    config: serde_json::Value,
    tensors: TensorMap,
}

impl AdapterFiles {
    /// The adapter, head and other trained tensors of a snapshot.
    ///
    /// A scaling that PEFT's VeRA lacks (rsVeRA's) is folded into b.
    #[must_use]
    pub fn of(plan: &Plan, state: &Snapshot) -> Self {
        let adapter = &plan.adapter;
        let mut tensors = TensorMap::default();
        for (name, tensor) in state.trained.iter() {
            let mut tensor = tensor.clone();
            if name.ends_with(LAMBDA_B) {
                let scaling = adapter.scaling(adapter.r) as f32;
                tensor
                    .values_mut()
                    .iter_mut()
                    .for_each(|value| *value *= scaling);
            }
            tensors.insert(format!("{PREFIX}{}", peft_name(name, adapter)), tensor);
        }
        Self {
            config: config(adapter, &plan.model.source.to_string()),
            tensors,
        }
    }

    /// Puts VeRA's projection beside its vectors, as `save_projection` does.
    #[must_use]
    pub fn with_projection(mut self, projection: &crate::adapter::projection::Projection) -> Self {
        let [a, b] = PROJECTION;
        self.tensors.insert(a, projection.a.clone());
        self.tensors.insert(b, projection.b.clone());
        self
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// When the folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ExportError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        self.tensors
            .write(&folder.join("adapter_model.safetensors"))?;
        let path = folder.join("adapter_config.json");
        let text = format!("{:#}\n", self.config);
        write_atomically(&path, text.as_bytes()).map_err(io(&path))
    }
}

/// The name as PEFT saves it: a trained bias of an adapted layer lies in the layer it wraps.
fn peft_name(name: &str, adapter: &AdapterPlan) -> String {
    let module = name.strip_suffix(".bias");
    let adapted = |module: &str| {
        adapter
            .target_modules
            .iter()
            .any(|target| module == target || module.ends_with(&format!(".{target}")))
    };
    match module.filter(|module| adapted(module)) {
        Some(module) => format!("{module}.base_layer.bias"),
        None => name.to_owned(),
    }
}

fn config(adapter: &AdapterPlan, base_model: &str) -> serde_json::Value {
    let lora = adapter.kind == AdapterKind::Lora;
    let only = |wanted: bool| wanted.then_some(());
    let bias = match adapter.bias {
        Bias::None => "none",
        Bias::All => "all",
        Bias::LoraOnly if lora => "lora_only",
        Bias::LoraOnly => "vera_only",
    };
    let mut modules_to_save = vec!["classifier".to_owned(), "score".to_owned()];
    let further = adapter.modules_to_save.iter();
    modules_to_save.extend(
        further
            .filter(|m| *m != "classifier" && *m != "score")
            .cloned(),
    );
    let config = PeftConfig {
        peft_type: if lora { PeftType::Lora } else { PeftType::Vera },
        r: i64::from(adapter.r),
        target_modules: OneOrMany::Many(adapter.target_modules.clone()),
        bias: bias.to_owned(),
        modules_to_save: Some(modules_to_save),
        layers_to_transform: adapter
            .layers_to_transform
            .as_ref()
            .map(|numbers| OneOrMany::Many(numbers.iter().map(|n| i64::from(*n)).collect())),
        layers_pattern: adapter.layers_pattern.clone().map(OneOrMany::One),
        fan_in_fan_out: false,
        lora_alpha: only(lora).map(|()| adapter.lora_alpha),
        lora_dropout: only(lora).map(|()| adapter.dropout),
        use_rslora: only(lora).map(|()| adapter.rank_stabilised),
        use_dora: None,
        d_initial: only(!lora).map(|()| adapter.d_initial),
        vera_dropout: only(!lora).map(|()| adapter.dropout),
        projection_prng_key: only(!lora).map(|()| adapter.projection_prng_key),
        save_projection: only(!lora).map(|()| adapter.save_projection),
        rank_pattern: serde_json::Map::new(),
        alpha_pattern: serde_json::Map::new(),
        base_model_name_or_path: Some(base_model.to_owned()),
    };
    // A plain struct of strings and numbers always serialises.
    let mut config = serde_json::to_value(config).unwrap_or_default();
    config["task_type"] = "SEQ_CLS".into();
    config["inference_mode"] = true.into();
    if adapter.kind == AdapterKind::SorfVera {
        config["peft_type"] = "SORF_VERA".into();
        config["sorf_seed"] = adapter.sorf_seed.into();
    }
    config
}
