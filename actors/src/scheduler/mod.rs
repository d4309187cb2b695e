//! The scheduler: a state machine that turns what happened into what to do next.
//!
//! It holds no tensor, no thread and no clock of its own: [`Scheduler::step`] takes an [`Input`]
//! and the wall time, and returns [`Command`]s. The order in which updates count is that of
//! virtual time: an update that the machine has early waits for its turn, and a turn whose update
//! the machine has not yet waits for it. So the outcome does not depend on threads.
//!
//! The scheduler consists of parts: the `State` that a checkpoint holds, the current `Round`,
//! the `Environment` drawn from the seed, the `Steering` from outside, the `Lifecycle` of
//! this process, and the `Output` of a step. `transitions` moves the machine from phase to
//! phase, and alone sees all parts; the work of each phase is a file of `phases`, whose functions
//! say which parts they change.

mod environment;
mod fleet;
mod in_flight;
mod lifecycle;
mod output;
mod phases;
mod quotas;
mod round;
mod state;
mod steering;
mod transitions;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::plan::{ClockMode, FederationPlan};
use crate::protocol::command::Command;
use crate::protocol::control::{ControlCommand, Intervention, RunStatus};
use crate::protocol::input::Input;
use crate::protocol::outcome::RunError;
use crate::scheduler::environment::Environment;
use crate::scheduler::lifecycle::Lifecycle;
use crate::scheduler::output::Output;
use crate::scheduler::phases::recover;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;
use crate::scheduler::steering::Steering;

/// What the run is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The lanes and the actors start.
    Starting,
    /// The server gives out its state for the round.
    Opening,
    /// Clients train and send updates.
    Collecting,
    Aggregating,
    Evaluating,
    /// The machine finishes all jobs, so that their updates are saved too.
    Settling,
    Saving,
    Paused,
    /// The state is scored once more, since the run was told to stop.
    LastEvaluation,
    /// The server is built again.
    Recovering,
    /// The server writes what the run leaves behind.
    Finishing,
    Over,
}

/// How a scheduler begins.
#[derive(Debug, Clone, Default)]
pub struct StartFrom {
    /// The scheduler's state in the checkpoint that the run continues from.
    pub state: Option<Vec<u8>>,
    /// Commands from outside that are known beforehand.
    pub interventions: Vec<Intervention>,
    /// Whether there is a place to save the run's state to.
    pub saves: bool,
}

/// The state machine of a run.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<FederationPlan>,
    phase: Phase,
    state: State,
    round: Round,
    environment: Environment,
    steering: Steering,
    lifecycle: Lifecycle,
    output: Output,
}

impl Scheduler {
    /// A scheduler before its first step, at the beginning of a run that is not saved.
    #[must_use]
    pub fn new(plan: Arc<FederationPlan>) -> Self {
        let lifecycle = Lifecycle::new(&plan);
        Self {
            phase: Phase::Starting,
            state: State::new(plan.clients.len()),
            round: Round::new(lifecycle.run, 0, 0.0),
            environment: Environment::new(&plan),
            steering: Steering::default(),
            lifecycle,
            output: Output::default(),
            plan,
        }
    }

    /// A scheduler before its first step.
    ///
    /// # Errors
    /// When the state is not one of this plan.
    pub fn begin(plan: Arc<FederationPlan>, beginning: StartFrom) -> Result<Self, String> {
        let mut scheduler = Self::new(plan);
        scheduler.steering = Steering::new(beginning.interventions);
        scheduler.lifecycle.saves = beginning.saves;
        if let Some(bytes) = beginning.state {
            let (plan, run) = (&scheduler.plan, scheduler.lifecycle.run);
            let state = recover::restore(plan, &scheduler.steering, run, &bytes)?;
            scheduler.lifecycle.resume(&state);
            scheduler.output = Output::new(state.recorded);
            scheduler.state = state;
        }
        Ok(scheduler)
    }

    /// Takes in what happened, at `wall` seconds since the run's start (for measurements only,
    /// unless the plan's clock is the wall's), and returns what to do, in this order.
    pub fn step(&mut self, input: Input, wall: f64) -> Vec<Command> {
        self.output.wall = wall;
        if let ClockMode::Wall { scale } = self.plan.clock {
            let now = self.lifecycle.began_at.after(wall * scale);
            self.state.in_flight.clock.advance_to(now);
        }
        if self.phase != Phase::Over {
            self.handle(input);
        }
        self.output.take()
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Started | Input::LaneReady(_) => self.part_started(),
            Input::Opened { round, bytes_down } => self.round_opened(round, bytes_down),
            Input::Received { id, info } => self.update_received(id, info),
            Input::JobFailed {
                id,
                lane,
                reason,
                work,
            } => self.job_failed(id, lane, reason, work),
            Input::ClientDied { client, job } => self.client_died(client, job),
            Input::LaneFailed { lane, reason } => self.lane_failed(lane, reason),
            Input::LanesFailed { reason } => self.fail(RunError::Lanes(reason)),
            Input::DeviceLost { reason } => self.fail(RunError::DeviceLost(reason)),
            Input::Aggregated { round, aggregation } => self.aggregated(round, aggregation),
            Input::Evaluated { round, scores } => self.evaluated(round, scores),
            Input::Finished => self.finished(),
            Input::Saved { round, bytes } => self.saved(round, bytes),
            Input::Recovered { state } => self.recovered(state),
            Input::RecordFailed(error) => self.fail(error.into()),
            Input::ServerFailed {
                round,
                task,
                reason,
            } => self.server_failed(round, task, reason),
            Input::Control(command) => self.control(command),
            Input::Tick => self.advance(),
        }
    }

    /// Whether the run waits for this, in this round.
    fn expects(&self, phase: Phase, round: u32) -> bool {
        self.phase == phase && self.round.number == round
    }

    /// What a command that is given now changes in the run's course, and where; `None`: it
    /// concerns this process alone.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(crate) fn intervention(
        &self,
        command: ControlCommand,
    ) -> Result<Option<Intervention>, String> {
        // What is repeated after a crash of the server is in the ledger already.
        let after_round = self.state.round.max(self.lifecycle.reached).max(1);
        steering::intervention(&self.plan, after_round, command)
    }

    /// The rounds of the jobs that the machine is not done with.
    pub(crate) fn busy_rounds(&self) -> BTreeSet<u32> {
        self.state.in_flight.busy_rounds()
    }

    /// Where the run is.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        RunStatus {
            round: self.state.round,
            rounds: self.plan.rounds,
            virtual_seconds: self.state.virtual_seconds(),
            working: self.state.in_flight.jobs.len() as u32,
            paused: self.phase == Phase::Paused,
            over: self.phase == Phase::Over,
        }
    }
}

#[cfg(test)]
mod tests;
