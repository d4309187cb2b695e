//! What the scheduler receives.
//!
//! The scheduler deals in facts about updates, never in updates: these go from the client to the
//! server, under their [`JobId`], and the scheduler says which to aggregate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, JobId, LaneId};
use crate::protocol::control::ControlCommand;
use crate::protocol::job::{UpdateInfo, Work};
use crate::protocol::outcome::{RecordError, ServerTask};
use crate::workload::update::{Aggregation, Scores};

/// An input of the scheduler.
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
    /// An update is at the server.
    Received {
        /// The job.
        id: JobId,
        /// The facts.
        info: UpdateInfo,
    },
    /// A job gave no update.
    JobFailed {
        /// The job.
        id: JobId,
        /// The lane that trained it, if it had been assigned one.
        lane: Option<LaneId>,
        /// The cause, as text.
        reason: String,
        /// The work done before it ended.
        work: Work,
    },
    /// A client's actor panicked.
    ClientDied {
        /// The client concerned.
        client: ClientId,
        /// The job that it had.
        job: Option<(JobId, Work)>,
    },
    /// A lane has no trainer and takes no jobs.
    LaneFailed {
        /// The lane concerned.
        lane: LaneId,
        /// The cause, as text.
        reason: String,
    },
    /// The lanes cannot go on, all of them.
    LanesFailed {
        /// The cause, as text.
        reason: String,
    },
    /// A device that this process computes on does nothing more for it.
    DeviceLost {
        /// Where it was noticed, and the cause, as text.
        reason: String,
    },
    /// The round's updates are aggregated.
    Aggregated {
        /// The round.
        round: u32,
        /// The result of the aggregation.
        aggregation: Aggregation,
    },
    /// The global state is scored.
    Evaluated {
        /// The round.
        round: u32,
        /// The scores.
        scores: Scores,
    },
    /// The aggregator wrote its results.
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
    /// The server cannot continue.
    ServerFailed {
        /// The round it was in; 0 before the first.
        round: u32,
        /// The task that failed.
        task: ServerTask,
        /// The cause, as text.
        reason: String,
    },
    /// Somebody outside wants something.
    Control(ControlCommand),
}
