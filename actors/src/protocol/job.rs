//! What the scheduler knows of a job: its faults beforehand, its facts afterwards.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, LaneId};
use crate::plan::fault::Corruption;
use crate::plan::fault::injection::Interruption;

/// What is known of an update that lies in its slot.
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

/// What a job had done when it ended without an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Optimiser steps.
    pub steps: u64,
    /// Examples seen.
    pub examples: u64,
}

/// What the plan's faults do to a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct JobFaults {
    /// Where it ends before its time.
    pub interruption: Option<Interruption>,
    /// How its update is corrupted, and what keys the draws for that: the run's seed.
    pub corruption: Option<(Corruption, u64)>,
}
