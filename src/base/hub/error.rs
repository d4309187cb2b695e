//! Failures of requests to the hub.

/// A failed request.
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
    /// The problem, in words for the user.
    pub fn message(self) -> String {
        match self {
            Self::Passing(message) | Self::Misfit(message) | Self::Final(message) => message,
        }
    }
}
