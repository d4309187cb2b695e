//! Commands of the scheduler, and its requests to the server.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::client_state::ClientState;
use super::event::Event;
use super::job::JobFaults;
use super::outcome::{RunError, RunOutcome};
use crate::clock::VirtualTime;
use crate::ids::{ClientId, Digest, JobId, RunId};

/// A command of the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The server is to do this.
    Server(ServerCommand),
    /// The client is to train, from the state of the job's round.
    Train {
        /// The job.
        id: JobId,
        /// The plan's faults for it.
        faults: JobFaults,
        /// The clients that are trained together with it, and itself, in order; none where it is
        /// trained alone.
        group: Vec<ClientId>,
    },
    /// The client must abandon this job.
    Cancel(JobId),
    /// The client's actor is to be started again.
    Restart(ClientId),
    /// The board and the observers are to show the client in this state.
    SetClientState {
        /// The round.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The new state.
        state: ClientState,
    },
    /// The observers are to know.
    Emit(Event),
    /// The ledger and the observers are to know.
    Record {
        /// The entry's number, from 1.
        sequence: u64,
        /// The virtual time of the event.
        time: VirtualTime,
        /// The event.
        event: Event,
    },
    /// Request an [`Input::Tick`](super::input::Input::Tick) after this many wall seconds.
    WakeAfter(f64),
    /// The run is over, and nothing follows.
    End(Box<Result<RunOutcome, RunError>>),
}

/// An update to aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectedUpdate {
    /// The job that gave it; its round is the one whose state it was trained from.
    pub id: JobId,
    /// See [`crate::workload::update::Contribution::weight`].
    pub weight: f64,
}

/// A request of the scheduler to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerCommand {
    /// Provide the global state for a round.
    Open {
        /// The round.
        round: u32,
        /// The rounds whose states its clients hold.
        held_versions: BTreeSet<Option<u32>>,
        /// No update from an earlier round's state will come any more.
        oldest: u32,
    },
    /// Drop an update.
    Discard {
        /// Its job.
        id: JobId,
    },
    /// Aggregate these updates, given in client order.
    Aggregate {
        /// The round.
        round: u32,
        /// The updates.
        updates: Vec<SelectedUpdate>,
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
    /// Drop everything, and restart from the last checkpoint.
    Recover {
        /// Only updates of this run are accepted from now on.
        run: RunId,
    },
    /// Write the run's results.
    Finish {
        /// The last round.
        round: u32,
    },
}

/// The length and the digest of a ledger when a checkpoint was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerMark {
    /// Its length in bytes.
    pub bytes: u64,
    /// BLAKE3 digest of these bytes.
    pub digest: Digest,
}
