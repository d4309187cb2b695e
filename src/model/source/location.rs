//! The location of a pretrained model.

use std::fmt;
use std::path::PathBuf;

use crate::model::source::known::ArchitectureName;

/// What a model's name begins with when its weights are to be drawn.
pub const RANDOM: &str = "random:";

/// The location of a pretrained model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder as the Hugging Face hub makes it, or a GGUF file.
    Local(PathBuf),
    /// A repository of the Hugging Face hub.
    Hub(String),
    /// None: weights drawn from the run's seed.
    Random {
        /// The architecture.
        architecture: ArchitectureName,
        /// A `tokenizer.json`.
        tokenizer: PathBuf,
    },
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Hub(name) => f.write_str(name),
            Self::Random { architecture, .. } => write!(f, "{RANDOM}{architecture}"),
        }
    }
}
