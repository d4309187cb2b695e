//! What a round leaves behind: one [`RoundRecord`], written as one line of `rounds.jsonl`.

use serde::{Deserialize, Serialize};

use crate::event::is_zero;
use crate::learner::{ClientId, Digest, Refusal, Scores};
use crate::lenient;

/// One finished round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// From 1.
    pub round: u32,
    /// Mean of the clients' training losses, weighted by examples; `None` when nobody trained.
    pub train_loss: Option<f64>,
    /// Scores on validation, in rounds that were evaluated.
    #[serde(default, deserialize_with = "lenient::maybe_scores")]
    pub eval: Option<Scores>,
    /// See [`crate::learner::Aggregation::exactness_error`].
    pub exactness_error: Option<f64>,
    /// Virtual time at the round's end, in seconds since the run's start.
    pub virtual_seconds: f64,
    /// Wall time by phase.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: PhaseSeconds,
    /// Digest of the global state after the round.
    pub state_digest: Digest,
    /// Updates that the server refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// Each client whose part ended in this round, in client order: who was asked, whose late
    /// update from an earlier round was carried over, and, where aggregation is asynchronous, whose
    /// update was folded.
    pub clients: Vec<ClientRecord>,
}

impl RoundRecord {
    /// Sets all that was measured in wall time to 0; it is then left out in JSON.
    pub fn forget_wall_time(&mut self) {
        self.seconds = PhaseSeconds::default();
        self.clients.iter_mut().for_each(|c| c.seconds = 0.0);
    }
}

/// Wall seconds of a round by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// From the broadcast to the last update.
    pub train: f64,
    /// Aggregation.
    pub aggregate: f64,
    /// Evaluation; 0 in rounds without one.
    pub evaluate: f64,
}

/// One client's part in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Who.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Mean training loss over its examples, when it trained to the end.
    pub loss: Option<f64>,
    /// Examples seen.
    pub examples: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Bytes it sent.
    pub bytes_up: u64,
    /// Bytes it was sent.
    pub bytes_down: u64,
    /// Wall seconds its job took on its lane.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
}

/// How a client's round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its update was folded.
    Folded,
    /// Its update came and was refused: by the server's checks, or with a round that was skipped.
    Refused,
    /// It dropped out, at the start or in mid-round.
    Dropped,
    /// Its update came after the round was closed.
    Late,
    /// Its update was lost on the way.
    Lost,
    /// Its job failed, or the client crashed.
    Failed,
}
