//! Why something could not be fetched from the hub.

use crate::base::file_error::FileError;

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
    #[error(transparent)]
    Cache(#[from] FileError),
}

#[cfg(not(feature = "hub"))]
impl HubError {
    /// The error of a program that was built without the hub.
    pub(crate) fn not_built(repo: &str) -> Self {
        Self::Fetch {
            repo: repo.to_owned(),
            message: "no such folder, and this program was built without the feature `hub`"
                .to_owned(),
        }
    }
}
