//! What a run reports: [`Event`]s, handed to [`Observer`](crate::observe::Observer)s in order.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, Digest, LaneId};
use crate::plan::fault::FaultName;
use crate::protocol::client_state::ClientState;
use crate::protocol::control::Intervention;
use crate::protocol::json::{self, is_zero};
use crate::protocol::outcome::EndReason;
use crate::protocol::round_record::RoundRecord;
use crate::workload::job::Progress;
use crate::workload::update::{Aggregation, Scores};

/// Something that happened in a run.
///
/// Those that go into the ledger ([`Event::is_recorded`]) come in the order of virtual time, the
/// same in each run of a plan. The others come as the machine gets to them.
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
        #[serde(default, skip_serializing_if = "is_zero")]
        lanes: u32,
        /// The fleet, in client order.
        clients: Vec<ClientInfo>,
    },
    /// Everything is started, and the run continues from a checkpoint. Comes instead of
    /// [`Event::RunStarted`].
    RunResumed {
        /// The run's name.
        run: String,
        /// Rounds planned.
        rounds: u32,
        /// Device lanes.
        lanes: u32,
        /// The fleet, in client order.
        clients: Vec<ClientInfo>,
        /// The last round of the checkpoint; what observers know of later ones is void.
        after_round: u32,
    },
    /// A round begins.
    RoundStarted {
        /// From 1.
        round: u32,
        /// Clients selected to train, in client order.
        clients: Vec<ClientId>,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// More clients are selected during a round: because too few updates came, because
    /// no client was available when it began, or because aggregation is asynchronous.
    #[serde(alias = "clients_asked")]
    ClientsSelected {
        /// The round.
        round: u32,
        /// The attempt within the round.
        attempt: u32,
        /// The clients, in client order.
        clients: Vec<ClientId>,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A scripted fault will strike a client in its work of this round.
    #[serde(alias = "fault_struck")]
    FaultInjected {
        /// The round.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The fault that strikes.
        fault: FaultName,
        /// Virtual time at which the client was selected, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A client dropped out, or went away as its availability has it.
    ClientDropped {
        /// The round that it worked for.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// Optimiser steps that it had done.
        steps: u64,
        /// The round in which it is back, if that was said.
        rejoin: Option<u32>,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A client crashed, or its job failed.
    ClientFailed {
        /// The round that it worked for.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The cause, as text.
        reason: String,
        /// When it is back, in virtual seconds since the run's start; `None`: it is retired.
        back_at: Option<f64>,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// An update was lost on its way.
    UpdateLost {
        /// The round it was trained in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// Virtual time at which it should have arrived, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A client had sent no update when its round was closed.
    UpdateLate {
        /// The round.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// An update came too long after its round, and was dropped.
    UpdateStale {
        /// The round it was trained in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// Rounds since then.
        staleness: u32,
        /// Virtual time of arrival, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// An update came once more, and was dropped.
    UpdateDuplicated {
        /// The round it was trained in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// Virtual time of arrival, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// Too few updates arrived; the round selects clients again.
    RoundRetried {
        /// The round.
        round: u32,
        /// The new attempt.
        attempt: u32,
        /// Updates that came.
        updates: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// Too few updates came; nothing is aggregated in this round.
    RoundSkipped {
        /// The round.
        round: u32,
        /// Updates that came.
        updates: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// The server died, as the plan has it.
    ServerCrashed {
        /// The round.
        round: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// The server is back where it was.
    ServerRecovered {
        /// The round.
        round: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// The server failed, as the plan does not have it; it is built again and does again what is
    /// not in the last checkpoint.
    ServerFailed {
        /// The round.
        round: u32,
        /// The cause, as text.
        reason: String,
    },
    /// Somebody outside changed the run's course.
    Intervention(Intervention),
    /// The run's state is saved.
    Checkpointed {
        /// The last round in it.
        round: u32,
        /// Its size.
        bytes: u64,
    },
    /// The run waits between two rounds until it is resumed.
    Paused {
        /// The last finished round.
        round: u32,
    },
    /// A lane has no trainer any more, and takes no more jobs.
    LaneFailed {
        /// The lane concerned.
        lane: LaneId,
        /// The cause, as text.
        reason: String,
    },
    /// A lane's job has made no progress for long, in wall time.
    LaneStalled {
        /// The lane concerned.
        lane: LaneId,
        /// The client that the job belongs to.
        client: ClientId,
        /// Wall seconds without progress.
        seconds: f64,
    },
    /// A client is in another state.
    ClientState {
        /// The round it is in.
        round: u32,
        /// The client concerned.
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
        /// The client concerned.
        client: ClientId,
        /// The lane concerned.
        lane: LaneId,
        /// The progress of its job.
        progress: Progress,
    },
    /// A host offers lanes.
    HostJoined {
        /// The host, as long as it stays; one that comes back has another.
        host: String,
        /// Its lanes' numbers.
        lanes: Vec<LaneId>,
        /// What trains there.
        description: String,
    },
    /// A host offers its lanes no more. What it was doing is done elsewhere.
    HostLeft {
        /// The host.
        host: String,
        /// Whether it was lost rather than left.
        lost: bool,
        /// The cause, as text.
        reason: String,
    },
    /// A host is not allowed to train.
    HostRefused {
        /// Its name.
        host: String,
        /// The cause, as text.
        reason: String,
    },
    /// A job of a host is done: its reply is with its client.
    JobDone {
        /// The round it is in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The host that did it.
        host: String,
    },
    /// A job was done on two hosts on purpose, and its results compared.
    JobVerified {
        /// The round it is in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The hosts that gave the result.
        hosts: Vec<String>,
        /// Hosts that gave another. They are believed no more.
        wrong: Vec<String>,
    },
    /// A job is done once more, on another lane.
    JobRedone {
        /// The round it is in.
        round: u32,
        /// The client concerned.
        client: ClientId,
        /// The host that had it, if that is known.
        host: Option<String>,
        /// The cause, as text.
        reason: String,
    },
    /// The broker between the run and its hosts answers: at the start, or again.
    BrokerReached,
    /// The broker does not answer; what hosts do meanwhile is not lost.
    BrokerAway {
        /// The cause, as text.
        reason: String,
    },
    /// A client's update arrived (in virtual time).
    UpdateReceived {
        /// The round it was trained in.
        round: u32,
        /// The client that sent it.
        client: ClientId,
        /// Mean training loss over the examples of the round.
        #[serde(deserialize_with = "json::number")]
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
        #[serde(default, skip_serializing_if = "is_zero")]
        seconds: f64,
        /// Virtual time of arrival, in seconds since the run's start.
        virtual_seconds: f64,
    },
    /// A reply came to a round or an attempt that is closed; it was dropped, not aggregated.
    StaleReply {
        /// The round that it belonged to.
        round: u32,
        /// The client that sent it.
        client: ClientId,
    },
    /// The round's updates are aggregated.
    Aggregated {
        /// The round.
        round: u32,
        /// The result of the aggregation.
        aggregation: Aggregation,
        /// Wall seconds it took.
        #[serde(default, skip_serializing_if = "is_zero")]
        seconds: f64,
    },
    /// The global state was scored.
    Evaluated {
        /// After which round.
        round: u32,
        /// The scores.
        #[serde(deserialize_with = "json::scores")]
        scores: Scores,
        /// Wall seconds it took.
        #[serde(default, skip_serializing_if = "is_zero")]
        seconds: f64,
    },
    /// After the last round, the server predicts examples whose answers it does not know. Some may be
    /// left out when they come too fast.
    Predicting {
        /// Examples predicted.
        done: u64,
        /// Examples in all.
        total: u64,
    },
    /// A round is over.
    RoundFinished(RoundRecord),
    /// The run is over; the last event.
    RunFinished {
        /// Rounds finished.
        rounds: u32,
        /// Virtual time, in seconds since the run's start.
        virtual_seconds: f64,
        /// The reason for the end; `None` after an error.
        ending: Option<EndReason>,
        /// The error that ended it, if any.
        error: Option<String>,
    },
}

impl Event {
    /// Whether it goes into the ledger: whether each run of the plan has it, at the same time.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !matches!(
            self,
            Self::RunResumed { .. }
                | Self::ServerFailed { .. }
                | Self::Checkpointed { .. }
                | Self::Paused { .. }
                | Self::LaneFailed { .. }
                | Self::LaneStalled { .. }
                | Self::ClientState { .. }
                | Self::Progress { .. }
                | Self::HostJoined { .. }
                | Self::HostLeft { .. }
                | Self::HostRefused { .. }
                | Self::JobDone { .. }
                | Self::JobVerified { .. }
                | Self::JobRedone { .. }
                | Self::BrokerReached
                | Self::BrokerAway { .. }
                | Self::StaleReply { .. }
                | Self::Predicting { .. }
        )
    }

    /// The event without what was measured in wall time and without the number of lanes: what
    /// each run of the plan has in common. These fields are left out in JSON.
    #[must_use]
    pub fn without_wall_time(mut self) -> Self {
        match &mut self {
            Self::RunStarted { lanes, .. } => *lanes = 0,
            Self::UpdateReceived { seconds, .. }
            | Self::Aggregated { seconds, .. }
            | Self::Evaluated { seconds, .. } => *seconds = 0.0,
            Self::RoundFinished(record) => record.forget_wall_time(),
            _ => {}
        }
        self
    }
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
