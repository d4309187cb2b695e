//! Jobs under way, and what of them is due when in virtual time.

use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::ids::JobId;
use crate::plan::fault::injection::InjectedFaults;
use crate::protocol::job::{UpdateInfo, Work};

/// What is due at some point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Due {
    /// A client is done training and begins to send.
    Trained(JobId),
    /// A client's work ends without an update.
    Left(JobId),
    /// A client's update is with the server.
    Arrived(JobId),
    /// A client's update is with the server once more.
    Again(JobId),
    /// The round closes.
    Deadline { round: u32, attempt: u32 },
    /// Somebody may be there to be asked.
    Wake { round: u32 },
}

impl Due {
    /// The job concerned.
    pub(super) fn job_mut(&mut self) -> Option<&mut JobId> {
        match self {
            Self::Trained(id) | Self::Left(id) => Some(id),
            Self::Arrived(id) | Self::Again(id) => Some(id),
            Self::Deadline { .. } | Self::Wake { .. } => None,
        }
    }
}

/// One job, from the request until its update arrives or it is given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlightJob {
    #[serde(alias = "stamp")]
    pub id: JobId,
    #[serde(alias = "strikes")]
    pub injected: InjectedFaults,
    pub bytes_down: u64,
    /// When it was asked for.
    #[serde(alias = "asked")]
    pub selected_at: VirtualTime,
    /// When its client goes away.
    pub until: VirtualTime,
    /// What the machine has done of it.
    #[serde(alias = "machine")]
    pub state: JobState,
    /// In virtual time, training is done.
    pub sending: bool,
    /// Its round is closed.
    pub late: bool,
}

impl InFlightJob {
    /// The facts of its update, once it is trained in virtual time.
    pub fn sent(&self) -> Option<&UpdateInfo> {
        match &self.state {
            JobState::Done(info) if self.sending => Some(info),
            _ => None,
        }
    }
}

/// What the machine has done of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum JobState {
    /// Not done yet.
    Busy,
    /// The update lies in its slot.
    Done(UpdateInfo),
    /// There is no update.
    Failed { reason: String, work: Work },
}
