//! Identifiers: clients, lanes, runs, jobs, and digests of content.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A client's number, from 0, stable through the run. Updates are aggregated in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lane's number, from 0: one OS thread that owns one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u32);

/// A BLAKE3 digest, written as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

/// Tells one run's messages from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// Which job a message is about. Every message carries one; a reply with another id than the
/// scheduler waits for is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId {
    /// The run.
    pub run: RunId,
    /// The round, from 1.
    pub round: u32,
    /// The client that the job belongs to.
    pub client: ClientId,
    /// The attempt within the round, from 0.
    pub attempt: u32,
}

impl JobId {
    /// The job of another client that begins with this one.
    #[must_use]
    pub fn of_client(self, client: ClientId) -> Self {
        Self { client, ..self }
    }
}
