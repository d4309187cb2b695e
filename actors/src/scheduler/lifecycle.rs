//! The life of the process that runs the federation: how it starts, what it has saved, what failed.

use std::collections::BTreeSet;

use crate::clock::VirtualTime;
use crate::ids::RunId;
use crate::plan::FederationPlan;
use crate::protocol::outcome::ServerTask;
use crate::scheduler::state::State;

/// What holds for this process alone, and is in no checkpoint.
#[derive(Debug)]
pub(super) struct Lifecycle {
    /// The run that messages belong to; changes when the server is built again.
    pub run: RunId,
    /// Lanes and actors that are not up yet; the first round waits for them.
    starting: u32,
    lanes_left: u32,
    /// Whether the run continues from a checkpoint.
    pub resumed: bool,
    /// With the wall's clock: the virtual time at which this process began.
    pub began_at: VirtualTime,
    /// The last round that was opened. After a crash of the server, the rounds before it are
    /// repeated as they were.
    pub reached: u32,
    /// Whether there is a place to save the run's state to.
    pub saves: bool,
    /// The last round of the last checkpoint.
    pub saved: Option<u32>,
    /// Rounds whose crash of the server has been played.
    crashes: BTreeSet<u32>,
    /// Failures of the server since the last round that was new.
    pub server_failures: u32,
    /// How a client last failed, for the error when no client is left.
    pub last_failure: Option<String>,
}

impl Lifecycle {
    /// At the start of a process that begins a run.
    pub fn new(plan: &FederationPlan) -> Self {
        Self {
            run: plan.run_id(),
            starting: plan.lanes + 1,
            lanes_left: plan.lanes,
            resumed: false,
            began_at: VirtualTime::default(),
            reached: 0,
            saves: false,
            saved: None,
            crashes: BTreeSet::new(),
            server_failures: 0,
            last_failure: None,
        }
    }

    /// Notes that the run continues from a checkpoint with this state.
    pub fn resume(&mut self, state: &State) {
        self.resumed = true;
        self.saved = Some(state.round);
        self.began_at = state.in_flight.now();
    }

    /// Counts a lane, or the actors, as up. Says whether all are.
    pub fn part_started(&mut self) -> bool {
        self.starting = self.starting.saturating_sub(1);
        self.starting == 0
    }

    /// Counts a lane as gone. Says whether any is left.
    pub fn lane_failed(&mut self) -> bool {
        self.lanes_left = self.lanes_left.saturating_sub(1);
        self.lanes_left > 0
    }

    /// Notes that the server crashes in this round, as planned. Says whether this is the first
    /// time: when the round is repeated, the server does not crash again.
    pub fn crash_server(&mut self, round: u32) -> bool {
        self.crashes.insert(round)
    }

    /// Whether a server that failed in this task may be built again. It needs a checkpoint, and
    /// may fail as often as the restart budget allows without a finished round in between.
    pub fn allows_recovery(&self, plan: &FederationPlan, task: ServerTask) -> bool {
        let is_work = matches!(
            task,
            ServerTask::Open | ServerTask::Receive | ServerTask::Aggregate | ServerTask::Evaluate
        );
        is_work && self.saved.is_some() && self.server_failures < plan.restart.budget
    }
}
