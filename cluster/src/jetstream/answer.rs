//! What the broker answers, and which of our errors its errors are.

use async_nats::Message;
use regatta_actors::lanes::broker::BrokerError;
use serde::Deserialize;
use serde_json::Value;

/// A stream or consumer exists already, with other settings.
pub(super) const OTHER_SETTINGS: u64 = 10058;
/// The server has no room, or the stream takes no more of this subject.
const NOT_STORED: u64 = 10077;
/// Another message came to the subject than the one that was expected.
pub(super) const OTHER_SEQUENCE: u64 = 10071;
/// The server is starting or stopping.
const NOT_READY: u64 = 10008;
/// There is no message with this number.
pub(super) const NO_MESSAGE: u64 = 10057;
/// The status of an answer without a message.
pub(super) const NOT_FOUND: u16 = 404;

/// The server's error.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl ApiError {
    fn about(self, what: &str) -> BrokerError {
        let text = format!("{what}: {} (error {})", self.description, self.err_code);
        match (self.code, self.err_code) {
            (NOT_FOUND, _) => BrokerError::Missing(text),
            (_, NOT_READY) => BrokerError::Away(text),
            _ => BrokerError::Refused(text),
        }
    }
}

/// Why a request had no result.
pub(super) enum Failure {
    /// The server's own error, and what it is about.
    Server(ApiError, String),
    /// Another, before the server saw the request or after it answered.
    Broker(BrokerError),
}

impl Failure {
    /// Whether it is the server's error of this number.
    pub(super) fn is(&self, number: u64) -> bool {
        matches!(self, Self::Server(error, _) if error.err_code == number)
    }

    /// Whether the stream takes no more of the subject.
    pub(super) fn is_of_subject(&self) -> bool {
        let about_subject = |error: &ApiError| {
            error.err_code == NOT_STORED && error.description.contains("per subject")
        };
        matches!(self, Self::Server(error, _) if about_subject(error))
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Server(error, what) => error.about(&what),
            Failure::Broker(error) => error,
        }
    }
}

/// Reads an answer about `what`.
pub(super) fn parsed(answer: &[u8], what: &str) -> Result<Value, Failure> {
    let unreadable = |e| BrokerError::Away(format!("{what}: an answer that is not JSON: {e}"));
    let answer: Value = serde_json::from_slice(answer).map_err(unreadable)?;
    match ApiError::deserialize(&answer["error"]) {
        Ok(error) => Err(Failure::Server(error, what.to_owned())),
        Err(_) => Ok(answer),
    }
}

/// Nobody takes a subject of a stream that is not there.
pub(super) fn no_stream(error: BrokerError, stream: &str) -> BrokerError {
    match error {
        BrokerError::Missing(_) => BrokerError::Missing(format!("stream {stream}")),
        error => error,
    }
}

/// The status that an answer has instead of content.
pub(super) fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

/// What an answer with a status says.
pub(super) fn said(message: &Message, stream: &str) -> String {
    format!(
        "{stream}: {}",
        message.description.as_deref().unwrap_or("no reason given")
    )
}
