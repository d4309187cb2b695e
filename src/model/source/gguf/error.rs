//! The error type of GGUF files.

use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;
use crate::model::ModelError;

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

/// With the same text.
impl From<GgufError> for FileError {
    fn from(error: GgufError) -> Self {
        let (path, reason) = match error {
            GgufError::Io { path, source } => return Self::read(&path)(source),
            GgufError::Format { path, at, reason } => (path, format!("at byte {at}: {reason}")),
            GgufError::Key { path, key, reason } => (path, format!("key `{key}`: {reason}")),
            GgufError::Tensor { path, name, reason } => {
                (path, format!("tensor `{name}`: {reason}"))
            }
        };
        Self::content(&path, reason)
    }
}

impl From<GgufError> for ModelError {
    fn from(error: GgufError) -> Self {
        Self::File(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_the_file_has_the_same_text() {
        let path = PathBuf::from("a.gguf");
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let reason = || "it is wrong".to_owned();
        for error in [
            GgufError::Io {
                path: path.clone(),
                source: denied,
            },
            GgufError::Format {
                path: path.clone(),
                at: 8,
                reason: reason(),
            },
            GgufError::Key {
                path: path.clone(),
                key: "llama.block_count".to_owned(),
                reason: reason(),
            },
            GgufError::tensor(&path, "output.weight", reason()),
        ] {
            let text = error.to_string();
            assert_eq!(FileError::from(error).to_string(), text);
        }
    }
}
