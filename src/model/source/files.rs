//! A model's files: a snapshot folder, or an architecture whose weights are drawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::known::ArchitectureName;

/// The source of a model's configuration and weights.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A Hugging Face snapshot.
    Snapshot(PathBuf),
    /// Weights drawn from the run's seed, with a tokenizer from elsewhere.
    Random {
        /// The architecture.
        architecture: Arc<dyn Architecture>,
        /// A `tokenizer.json`.
        tokenizer: PathBuf,
    },
}

impl ModelFiles {
    /// A model whose weights are to be drawn.
    ///
    /// # Errors
    /// If the architecture's file cannot be read.
    pub fn random(name: &ArchitectureName, tokenizer: &Path) -> Result<Self, ModelError> {
        Ok(Self::Random {
            architecture: name.read()?,
            tokenizer: tokenizer.to_owned(),
        })
    }

    /// The architecture.
    ///
    /// # Errors
    /// If `config.json` cannot be read.
    pub fn architecture(&self) -> Result<Arc<dyn Architecture>, ModelError> {
        match self {
            Self::Snapshot(folder) => config::read(&folder.join("config.json")),
            Self::Random { architecture, .. } => Ok(Arc::clone(architecture)),
        }
    }

    /// The weights for an objective.
    ///
    /// # Errors
    /// As [`Checkpoint::read`] and [`Checkpoint::random`].
    pub fn checkpoint(&self, objective: &Objective, seed: u64) -> Result<Checkpoint, ModelError> {
        match self {
            Self::Snapshot(folder) => Checkpoint::read(folder, objective, seed),
            Self::Random { architecture, .. } => {
                Checkpoint::random(Arc::clone(architecture), objective, seed)
            }
        }
    }

    /// All of `config.json`.
    ///
    /// # Errors
    /// If it cannot be read, or is not a JSON object.
    pub fn config_json(&self) -> Result<Map<String, Value>, ModelError> {
        match self {
            Self::Snapshot(folder) => config::keys::object(&folder.join("config.json")),
            Self::Random { architecture, .. } => Ok(architecture.to_json()),
        }
    }
}
