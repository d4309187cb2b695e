//! Why a request to the hub failed.

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// Another try may do.
    Passing(String),
    /// Another try may do, but from the beginning.
    Misfit(String),
    /// None will.
    Final(String),
}

impl FetchError {
    /// What went wrong, for the user.
    pub fn message(self) -> String {
        match self {
            Self::Passing(message) | Self::Misfit(message) | Self::Final(message) => message,
        }
    }
}
