//! PEFT's `adapter_config.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapter::Targets;

/// The kinds of adapter that PEFT knows and Regatta too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PeftType {
    /// LoRA and rsLoRA.
    Lora,
    /// VeRA.
    Vera,
}

/// A list that PEFT may write as one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// All of them.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// The keys that matter here, with PEFT's defaults; others are kept out of the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeftConfig {
    /// The kind of adapter.
    pub peft_type: PeftType,
    /// Rank.
    pub r: i64,
    /// Module names, or ends of them.
    pub target_modules: OneOrMany<String>,
    /// Biases that were trained: `none`, `all` or `lora_only`/`vera_only`.
    #[serde(default = "none")]
    pub bias: String,
    /// Modules trained in full.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Layers by number.
    #[serde(default)]
    pub layers_to_transform: Option<OneOrMany<i64>>,
    /// The name before the layers' numbers.
    #[serde(default)]
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Weights stored transposed; never so in an encoder's linear layers.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// LoRA's α.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// LoRA's dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_dropout: Option<f64>,
    /// Whether LoRA scales by α/√r.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_rslora: Option<bool>,
    /// Whether it is DoRA, which Regatta does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_dora: Option<bool>,
    /// VeRA's first d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_initial: Option<f64>,
    /// VeRA's dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vera_dropout: Option<f64>,
    /// Key of VeRA's projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u64>,
    /// Whether VeRA's projection lies beside its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_projection: Option<bool>,
    /// Ranks that differ by module, which Regatta does not have.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub rank_pattern: serde_json::Map<String, serde_json::Value>,
    /// Alphas that differ by module, which Regatta does not have.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub alpha_pattern: serde_json::Map<String, serde_json::Value>,
    /// The model it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
}

fn none() -> String {
    "none".to_owned()
}

/// What can be wrong with a PEFT folder.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// A file is missing or unreadable.
    #[error("{}: {source}; a PEFT folder has adapter_config.json and adapter_model.safetensors", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file says something that Regatta cannot take.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What, and what would be right.
        reason: String,
    },
    /// The tensor file is unreadable.
    #[error(transparent)]
    Tensor(#[from] crate::tensors::TensorError),
}

impl PeftConfig {
    /// Reads and checks `adapter_config.json`.
    ///
    /// # Errors
    /// [`PeftError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, PeftError> {
        let text = std::fs::read_to_string(path).map_err(|source| PeftError::Io {
            path: path.into(),
            source,
        })?;
        let wrong = |reason: String| PeftError::Format {
            path: path.into(),
            reason,
        };
        let config: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if config.use_dora == Some(true) {
            return Err(wrong(
                "use_dora is true; Regatta reads plain LoRA and VeRA".to_owned(),
            ));
        }
        if !config.rank_pattern.is_empty() || !config.alpha_pattern.is_empty() {
            let reason = "rank_pattern and alpha_pattern must be empty: one rank for all modules";
            return Err(wrong(reason.to_owned()));
        }
        if config.r < 1 {
            return Err(wrong(format!("r is {}; a rank is at least 1", config.r)));
        }
        Ok(config)
    }

    /// The choice of layers.
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets {
            modules: self.target_modules.to_vec(),
            layers: self.layers_to_transform.as_ref().map(OneOrMany::to_vec),
            pattern: self
                .layers_pattern
                .as_ref()
                .and_then(|p| p.to_vec().into_iter().next()),
        }
    }
}
