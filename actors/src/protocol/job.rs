//! A job as the scheduler sees it: its faults beforehand, its facts afterwards.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, LaneId};
use crate::plan::fault::Corruption;
use crate::plan::fault::injection::Interruption;

/// The facts about an update at the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateInfo {
    /// Mean training loss over the examples of the round.
    pub loss: f64,
    /// Examples seen.
    pub examples: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Its size on the wire.
    pub bytes_up: u64,
    /// Digest of the update.
    pub digest: Digest,
    /// The lane that trained it.
    pub lane: LaneId,
    /// Wall seconds that the job took on its lane.
    pub seconds: f64,
}

/// The work that a job had done when it ended without an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples seen.
    pub examples: u64,
}

/// The plan's faults for a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct JobFaults {
    /// The point at which it ends early.
    pub interruption: Option<Interruption>,
    /// The corruption of its update, and the key of its draws: the run's seed.
    pub corruption: Option<(Corruption, u64)>,
}

/// How far a job is on its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// The state that it starts from is fetched.
    Fetching,
    /// It is trained. Its result is sent while its lane has the next job.
    Training,
}

impl JobPhase {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Training => "training",
        }
    }
}
