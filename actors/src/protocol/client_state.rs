//! The state of a client, as shown to users.

use serde::{Deserialize, Serialize};

/// The state of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// Waits to be selected.
    Idle,
    /// Selected, waits for a lane.
    Queued,
    /// Trains on a lane.
    Training,
    /// Its update is with the server.
    Sent,
    /// Away: it dropped out, or is not available.
    Dropped,
    /// Its job failed or it crashed; it is restarted.
    Restarting,
    /// Failed too often; takes no further part.
    Retired,
}

impl ClientState {
    /// Every state, for gauges that show each of them.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Queued,
        Self::Training,
        Self::Sent,
        Self::Dropped,
        Self::Restarting,
        Self::Retired,
    ];

    /// The state's name as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Training => "training",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Restarting => "restarting",
            Self::Retired => "retired",
        }
    }
}
