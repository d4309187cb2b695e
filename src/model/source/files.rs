//! A model's files: a snapshot folder, or an architecture whose weights are drawn.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::model::config::ModelConfig;
use crate::model::source::architecture::Architecture;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::{ModelError, config_json};

/// The source of a model's configuration and weights.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelFiles {
    /// A Hugging Face snapshot.
    Snapshot(PathBuf),
    /// Weights drawn from the run's seed, with a tokenizer from elsewhere.
    Random {
        /// The architecture.
        config: ModelConfig,
        /// A `tokenizer.json`.
        tokenizer: PathBuf,
    },
}

impl ModelFiles {
    /// A model whose weights are to be drawn.
    ///
    /// # Errors
    /// If the architecture's file cannot be read.
    pub fn random(architecture: &Architecture, tokenizer: &Path) -> Result<Self, ModelError> {
        Ok(Self::Random {
            config: architecture.config()?,
            tokenizer: tokenizer.to_owned(),
        })
    }

    /// The architecture.
    ///
    /// # Errors
    /// If `config.json` cannot be read.
    pub fn config(&self) -> Result<ModelConfig, ModelError> {
        match self {
            Self::Snapshot(folder) => ModelConfig::read(&folder.join("config.json")),
            Self::Random { config, .. } => Ok(config.clone()),
        }
    }

    /// The weights for a task with N outputs.
    ///
    /// # Errors
    /// As [`Checkpoint::read`] and [`Checkpoint::random`].
    pub fn checkpoint(&self, labels: i64, seed: u64) -> Result<Checkpoint, ModelError> {
        match self {
            Self::Snapshot(folder) => Checkpoint::read(folder, labels, seed),
            Self::Random { config, .. } => Checkpoint::random(config.clone(), labels, seed),
        }
    }

    /// All of `config.json`.
    ///
    /// # Errors
    /// If it cannot be read, or is not a JSON object.
    pub fn config_json(&self) -> Result<Map<String, Value>, ModelError> {
        match self {
            Self::Snapshot(folder) => config_json::object(&folder.join("config.json")),
            Self::Random { config, .. } => {
                let json = serde_json::to_value(config).and_then(serde_json::from_value);
                let wrong = |error: serde_json::Error| {
                    FileError::content(Path::new("config.json"), error.to_string())
                };
                Ok(json.map_err(wrong)?)
            }
        }
    }
}
