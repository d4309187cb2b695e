//! Why something could not be fetched from the hub.

#[cfg(feature = "hub")]
use std::path::Path;
use std::path::PathBuf;

/// An error of the hub or its cache.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A repository, or a file of it, cannot be fetched.
    #[error("cannot fetch {repo} from the hub: {message}")]
    Fetch {
        /// The repository.
        repo: String,
        /// The problem and a remedy.
        message: String,
    },
    /// The cache cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error from the operating system.
        source: std::io::Error,
    },
}

impl HubError {
    /// The error of a program that was built without the hub.
    #[cfg(not(feature = "hub"))]
    pub(crate) fn not_built(repo: &str) -> Self {
        Self::Fetch {
            repo: repo.to_owned(),
            message: "no such folder, and this program was built without the feature `hub`"
                .to_owned(),
        }
    }

    /// Wraps an I/O error with what was being done, and to which file.
    #[cfg(feature = "hub")]
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
