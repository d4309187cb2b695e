//! What the actors say to each other.
//!
//! The scheduler deals in facts about updates, never in updates: these go from the client to a
//! slot at the server, under their [`JobId`], and the scheduler says which slots to fold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::Message;
use serde::{Deserialize, Serialize};

use crate::control::ControlCommand;
use crate::fault::{Corruption, Interruption};
use crate::learner::{Aggregation, ClientId, Digest, LaneId, Scores, Trained};
use crate::ledger::{LedgerMark, RecordError};

/// Tells one run's messages from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// Which job a message is about. Every message carries one; a reply under another stamp than the
/// scheduler waits for is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId {
    /// The run.
    pub run: RunId,
    /// The round, from 1.
    pub round: u32,
    /// Whose job.
    pub client: ClientId,
    /// The attempt within the round, from 0.
    pub attempt: u32,
}

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
    /// Where it was trained.
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
    pub cut: Option<Interruption>,
    /// How its update is corrupted, and what keys the draws for that: the run's seed.
    pub corruption: Option<(Corruption, u64)>,
}

/// What the scheduler learns of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Every actor is up.
    Started,
    /// A lane has its trainer and takes jobs.
    LaneReady(LaneId),
    /// The server's state for the round is out.
    Opened {
        /// The round.
        round: u32,
        /// Bytes to download, by the round whose state a client holds.
        bytes_down: BTreeMap<Option<u32>, u64>,
    },
    /// An update lies in its slot at the server.
    Received {
        /// The job.
        stamp: JobId,
        /// The facts.
        receipt: UpdateInfo,
    },
    /// A job gave no update.
    JobFailed {
        /// The job.
        stamp: JobId,
        /// Where, if it came that far.
        lane: Option<LaneId>,
        /// What happened.
        reason: String,
        /// What it had done.
        work: Work,
    },
    /// A client's actor panicked.
    ClientDied {
        /// Whose.
        client: ClientId,
        /// The job that it had.
        job: Option<(JobId, Work)>,
    },
    /// A lane has no trainer and takes no jobs.
    LaneFailed {
        /// Which.
        lane: LaneId,
        /// What happened.
        reason: String,
    },
    /// The round's updates are folded.
    Aggregated {
        /// The round.
        round: u32,
        /// What it did.
        aggregation: Aggregation,
    },
    /// The global state is scored.
    Evaluated {
        /// The round.
        round: u32,
        /// The scores.
        scores: Scores,
    },
    /// The folder left behind what it had to.
    Finished,
    /// The run's state is saved.
    Saved {
        /// The last round in it.
        round: u32,
        /// Its size.
        bytes: u64,
    },
    /// The server is built again, at the state of the last checkpoint.
    Recovered {
        /// The scheduler's state in that checkpoint; `None`: there was none, and the server is at
        /// its beginning.
        state: Option<Vec<u8>>,
    },
    /// The ledger or a checkpoint could not be written, or the ledger says otherwise.
    RecordFailed(RecordError),
    /// Time went by (with the wall's clock).
    Tick,
    /// The server cannot go on.
    ServerFailed {
        /// The round it was in; 0 before the first.
        round: u32,
        /// What it was doing.
        task: ServerTask,
        /// What happened.
        reason: String,
    },
    /// Somebody outside wants something.
    Control(ControlCommand),
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerTask {
    /// Builds its folder.
    Start,
    /// Gives out the global state.
    Open,
    /// Takes an update in.
    Receive,
    /// Folds the round's updates.
    Aggregate,
    /// Scores the global state.
    Evaluate,
    /// Saves the run's state.
    Save,
    /// Takes up the last checkpoint.
    Recover,
    /// Writes what the run leaves behind.
    Finish,
}

impl std::fmt::Display for ServerTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Open => "open the round",
            Self::Receive => "take in an update",
            Self::Aggregate => "aggregate",
            Self::Evaluate => "evaluate",
            Self::Save => "save the run's state",
            Self::Recover => "take up its last checkpoint",
            Self::Finish => "write the results",
        })
    }
}

/// An update to fold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectedUpdate {
    /// Its slot; the stamp's round is the one whose state it was trained from.
    pub stamp: JobId,
    /// See [`crate::learner::Contribution::weight`].
    pub weight: f64,
}

/// What the scheduler asks of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerCommand {
    /// Give out the global state for a round.
    Open {
        /// The round.
        round: u32,
        /// The rounds whose states its clients hold.
        holds: BTreeSet<Option<u32>>,
        /// No update from an earlier round's state will come any more.
        oldest: u32,
    },
    /// Empty a slot.
    Discard {
        /// The slot.
        stamp: JobId,
    },
    /// Fold these slots, given in client order.
    Aggregate {
        /// The round.
        round: u32,
        /// The slots.
        take: Vec<SelectedUpdate>,
    },
    /// Score the global state.
    Evaluate {
        /// After which round.
        round: u32,
    },
    /// Save the run's state.
    Save {
        /// The last round in it.
        round: u32,
        /// Ledger entries until then.
        recorded: u64,
        /// The ledger until then; what keeps the ledger fills it in.
        ledger: Option<LedgerMark>,
        /// The scheduler's part.
        state: Vec<u8>,
    },
    /// Drop everything, and begin anew from the last checkpoint.
    Recover {
        /// Only updates stamped with this are taken in from now on.
        run: RunId,
    },
    /// Write what the run leaves behind.
    Finish {
        /// The last round.
        round: u32,
    },
}

/// To the scheduler's actor: the state that a round starts from, with [`Input::Opened`].
#[derive(Debug)]
pub(crate) struct Opened<G> {
    pub round: u32,
    pub global: Arc<G>,
    pub bytes_down: BTreeMap<Option<u32>, u64>,
}

/// To a client: train this round.
#[derive(Debug)]
pub(crate) struct TrainRound<G> {
    pub stamp: JobId,
    pub script: JobFaults,
    pub global: Arc<G>,
}

/// To a client: give this job up.
#[derive(Debug)]
pub(crate) struct Cancel(pub JobId);

/// To the server: an update for its slot.
#[derive(Debug)]
pub(crate) struct SubmitUpdate<U> {
    pub stamp: JobId,
    pub trained: Trained<U>,
    pub digest: Digest,
    pub lane: LaneId,
    pub seconds: f64,
}

impl Message for Cancel {
    type Result = ();
}

impl Message for Input {
    type Result = ();
}

impl Message for ServerCommand {
    type Result = ();
}

impl<G: Send> Message for Opened<G> {
    type Result = ();
}

impl<G: Send> Message for TrainRound<G> {
    type Result = ();
}

impl<U: Send> Message for SubmitUpdate<U> {
    type Result = ();
}
