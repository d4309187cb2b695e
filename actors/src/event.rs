//! What a run tells while it goes on: [`Event`]s, handed to [`Observer`]s in order.

use serde::{Deserialize, Serialize};

use crate::learner::{Aggregation, ClientId, Digest, LaneId, Progress, Scores};
use crate::record::RoundRecord;
use crate::run::Ending;

/// Something that happened in a run.
///
/// [`Event::Progress`] and [`Event::ClientState`] come as the machine gets to them; all others
/// come in the order of virtual time, the same in each run of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Everything is started; the first round comes next.
    RunStarted {
        /// The run's name.
        run: String,
        /// Rounds planned.
        rounds: u32,
        /// Device lanes.
        lanes: u32,
        /// The fleet, in client order.
        clients: Vec<ClientInfo>,
    },
    /// A round begins.
    RoundStarted {
        /// From 1.
        round: u32,
        /// Clients asked to train, in client order.
        clients: Vec<ClientId>,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A client is in another state.
    ClientState {
        /// The round it is in.
        round: u32,
        /// Who.
        client: ClientId,
        /// Its new state.
        state: ClientState,
        /// The lane that it runs on, while it trains.
        lane: Option<LaneId>,
    },
    /// A client's job did another batch. Some may be left out when they come too fast.
    Progress {
        /// The round it is in.
        round: u32,
        /// Who.
        client: ClientId,
        /// Where.
        lane: LaneId,
        /// How far.
        progress: Progress,
    },
    /// A client's update arrived (in virtual time).
    UpdateReceived {
        /// The round it was trained in.
        round: u32,
        /// From whom.
        client: ClientId,
        /// Mean training loss over the examples of the round.
        loss: f64,
        /// Examples seen.
        examples: u64,
        /// Optimiser steps taken.
        steps: u64,
        /// Its size on the wire.
        bytes_up: u64,
        /// Digest of the update.
        digest: Digest,
        /// Wall seconds that the job took on its lane.
        seconds: f64,
        /// Virtual time of arrival, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A reply came to a round or an attempt that is closed; it was dropped, not folded.
    StaleReply {
        /// The round that it belonged to.
        round: u32,
        /// From whom.
        client: ClientId,
    },
    /// The round's updates are folded.
    Aggregated {
        /// Which round.
        round: u32,
        /// What it did.
        aggregation: Aggregation,
        /// Wall seconds it took.
        seconds: f64,
    },
    /// The global state was scored.
    Evaluated {
        /// After which round.
        round: u32,
        /// The scores.
        scores: Scores,
        /// Wall seconds it took.
        seconds: f64,
    },
    /// A round is over.
    RoundFinished(RoundRecord),
    /// The run is over; the last event.
    RunFinished {
        /// Rounds finished.
        rounds: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
        /// How it ended; `None` with an error.
        ending: Option<Ending>,
        /// What ended it, if it did not end well.
        error: Option<String>,
    },
}

/// One client, as [`Event::RunStarted`] introduces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its number.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// Examples in its shard.
    pub examples: u64,
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// Waits to be asked.
    Idle,
    /// Asked, waits for a lane.
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

/// Sees a run's events, one after the other, on a thread of its own.
///
/// One that takes long holds the run up in the end. One that panics is left out from then on. One
/// that cannot do its duty (a full disk, say) stops the run through a
/// [`ControlHandle`](crate::control::ControlHandle).
pub trait Observer: Send {
    /// Called with each event.
    fn on_event(&mut self, event: &Event);
}
