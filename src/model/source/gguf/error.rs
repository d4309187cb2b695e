//! The error type of GGUF files.

use std::path::{Path, PathBuf};

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The bytes at a place are not what the format has there.
    #[error("{}: at byte {at}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The place, from 0.
        at: u64,
        /// The problem and what was expected.
        reason: String,
    },
    /// The metadata lacks a key, or has a value that cannot be used.
    #[error("{}: key `{key}`: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The problem and what was expected.
        reason: String,
    },
    /// A tensor is missing or cannot be used.
    #[error("{}: tensor `{name}`: {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name, as the file or the caller has it.
        name: String,
        /// The problem and what was expected.
        reason: String,
    },
}

impl GgufError {
    /// An error about a tensor.
    pub(crate) fn tensor(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}
