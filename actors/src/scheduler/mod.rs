//! The scheduler: a state machine that turns what happened into what to do next.
//!
//! It holds no tensor, no thread and no clock of its own: [`Scheduler::step`] takes an [`Input`]
//! and the wall time, and returns [`Command`]s. The order in which updates count is that of
//! virtual time: an update that the machine has early waits for its turn, and a turn whose update
//! the machine has not yet waits for it. So the outcome does not depend on threads.
//!
//! A round goes through `ask` (whom, and what befalls them), `collect` (what is due), `fail` (who
//! leaves), `close` (what is aggregated) and `between` (checkpoints, commands, the next round).

mod fleet;
mod in_flight;
mod phases;
mod round;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;

use round::Round;
use state::State;

use crate::clock::VirtualTime;
use crate::ids::{ClientId, RunId};
use crate::plan::availability::timeline::Timeline;
use crate::plan::fault::injection::Faults;
use crate::plan::{ClockMode, FederationPlan};
use crate::protocol::client_state::ClientState;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::control::{Intervention, RunStatus};
use crate::protocol::event::Event;
use crate::protocol::input::Input;
use crate::protocol::outcome::{EndReason, RunError, RunOutcome};

/// What the run is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Opening,
    Collecting,
    Aggregating,
    Evaluating,
    /// Waits for the machine to be done with all jobs, to save the state.
    Settling,
    Saving,
    Paused,
    /// Scores the state once more, since the run was told to stop.
    LastEvaluation,
    Recovering,
    Finishing,
    Over,
}

/// How a scheduler begins.
#[derive(Debug, Clone, Default)]
pub struct StartFrom {
    /// The scheduler's state in the checkpoint that the run goes on from.
    pub state: Option<Vec<u8>>,
    /// Commands from outside that are known beforehand.
    pub interventions: Vec<Intervention>,
    /// Whether there is a place to save the run's state to.
    pub saves: bool,
}

/// The state of a run.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<FederationPlan>,
    /// What messages are stamped with; changes when the server is built again.
    run: RunId,
    phase: Phase,
    /// What must be up before the first round: the lanes and the actors.
    starting: u32,
    state: State,
    round: Round,
    faults: Faults,
    /// By client.
    timelines: Vec<Timeline>,
    /// Commands that change the run's course, by the round after which they take effect.
    interventions: Vec<Intervention>,
    /// The last round that was opened in this process. After a crash of the server, the rounds
    /// before it are done again as they were.
    reached: u32,
    paused: bool,
    stop_requested: bool,
    save_requested: bool,
    saves: bool,
    /// The last round of the last checkpoint in this process.
    saved: Option<u32>,
    /// Ledger entries that were told; those up to it are not told again.
    told: u64,
    /// Rounds whose crash of the server has been played.
    crashed: BTreeSet<u32>,
    /// Failures of the server since the last round that was new.
    server_failures: u32,
    lanes_left: u32,
    /// What last happened to a client, for the case that nobody is left.
    last_failure: Option<String>,
    /// Whether it goes on from a checkpoint.
    resumed: bool,
    /// Wall seconds since the run's start, at the current step.
    wall: f64,
    /// With the wall's clock: the time at which this process began.
    wall_from: VirtualTime,
    commands: Vec<Command>,
}

impl Scheduler {
    /// A scheduler before its first step, at the beginning of a run that is not saved.
    #[must_use]
    pub fn new(plan: Arc<FederationPlan>) -> Self {
        let state = State::new(plan.clients.len());
        Self {
            run: plan.run_id(),
            phase: Phase::Starting,
            starting: plan.lanes + 1,
            state,
            round: Round::new(0, 0.0),
            faults: Faults::new(plan.seed, &plan.faults),
            timelines: timelines(&plan),
            interventions: Vec::new(),
            reached: 0,
            paused: false,
            stop_requested: false,
            save_requested: false,
            saves: false,
            saved: None,
            told: 0,
            crashed: BTreeSet::new(),
            server_failures: 0,
            lanes_left: plan.lanes,
            last_failure: None,
            resumed: false,
            wall: 0.0,
            wall_from: VirtualTime::default(),
            commands: Vec::new(),
            plan,
        }
    }

    /// A scheduler before its first step.
    ///
    /// # Errors
    /// When the state is not one of this plan.
    pub fn begin(plan: Arc<FederationPlan>, beginning: StartFrom) -> Result<Self, String> {
        let mut scheduler = Self::new(plan);
        scheduler.interventions = beginning.interventions;
        scheduler.interventions.sort_by_key(|i| i.after_round);
        scheduler.saves = beginning.saves;
        if let Some(bytes) = beginning.state {
            scheduler.restore(&bytes)?;
            scheduler.told = scheduler.state.recorded;
            scheduler.saved = Some(scheduler.state.round);
            scheduler.wall_from = scheduler.state.clock.now();
            scheduler.resumed = true;
        }
        Ok(scheduler)
    }

    /// Takes in what happened, at `wall` seconds since the run's start (for measurements only,
    /// unless the plan's clock is the wall's), and returns what to do, in this order.
    pub fn step(&mut self, input: Input, wall: f64) -> Vec<Command> {
        self.wall = wall;
        if let ClockMode::Wall { scale } = self.plan.clock {
            let now = self.wall_from.after(wall * scale);
            self.state.clock.advance_to(now);
        }
        if self.phase != Phase::Over {
            self.take_in(input);
        }
        std::mem::take(&mut self.commands)
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Started | Input::LaneReady(_) => self.one_more_is_up(),
            Input::Opened { round, bytes_down } => {
                if self.expects(Phase::Opening, round) {
                    self.round.bytes_down = bytes_down;
                    self.broadcast();
                }
            }
            Input::Received { id, info } => self.receive(id, info),
            Input::JobFailed {
                id,
                lane,
                reason,
                work,
            } => self.job_failed(id, lane, reason, work),
            Input::ClientDied { client, job } => self.client_died(client, job),
            Input::LaneFailed { lane, reason } => self.lane_failed(lane, reason),
            Input::Aggregated { round, aggregation } => {
                if self.expects(Phase::Aggregating, round) {
                    self.aggregated(aggregation);
                }
            }
            Input::Evaluated { round, scores } => self.evaluated(round, scores),
            Input::Finished => {
                if self.phase == Phase::Finishing {
                    self.end_well();
                }
            }
            Input::Saved { round, bytes } => self.saved(round, bytes),
            Input::Recovered { state } => self.recovered(state),
            Input::RecordFailed(error) => self.fail(RunError::Record(error)),
            Input::ServerFailed {
                round,
                task,
                reason,
            } => self.server_failed(round, task, reason),
            Input::Control(command) => self.control(command),
            Input::Tick => self.advance(),
        }
    }

    fn expects(&self, phase: Phase, round: u32) -> bool {
        self.phase == phase && self.round.number == round
    }

    /// Tells the observers, and the ledger if it belongs there.
    fn emit(&mut self, event: Event) {
        if !event.is_recorded() {
            return self.commands.push(Command::Emit(event));
        }
        self.state.recorded += 1;
        // What is done again was told before.
        if self.state.recorded > self.told {
            self.told = self.state.recorded;
            self.commands.push(Command::Record {
                sequence: self.told,
                time: self.state.clock.now(),
                event,
            });
        }
    }

    /// Virtual seconds since the run's start.
    fn now(&self) -> f64 {
        self.state.clock.now().seconds()
    }

    fn show(&mut self, client: ClientId, state: ClientState) {
        let round = self.round.number;
        self.commands.push(Command::SetClientState {
            round,
            client,
            state,
        });
    }

    fn ask_server(&mut self, command: ServerCommand) {
        self.commands.push(Command::Server(command));
    }

    fn name(&self, client: ClientId) -> &str {
        &self.plan.clients[client.0 as usize].name
    }

    /// Where the run is.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        RunStatus {
            round: self.state.round,
            rounds: self.plan.rounds,
            virtual_seconds: self.now(),
            working: self.state.in_flight.len() as u32,
            paused: self.phase == Phase::Paused,
            over: self.phase == Phase::Over,
        }
    }

    fn fail(&mut self, error: RunError) {
        self.end(Err(error));
    }

    fn end(&mut self, result: Result<EndReason, RunError>) {
        self.phase = Phase::Over;
        // The end is new, even when it comes while something is done again.
        self.state.recorded = self.told;
        let rounds = self.state.last.as_ref().map_or(0, |last| last.round);
        let virtual_seconds = self.now();
        self.emit(Event::RunFinished {
            rounds,
            virtual_seconds,
            ending: result.as_ref().ok().copied(),
            error: result.as_ref().err().map(ToString::to_string),
        });
        let last = self.state.last.take();
        let rounds_refused = self.state.rounds_refused;
        let outcome = result.map(|ending| RunOutcome {
            ending,
            rounds,
            rounds_refused,
            last,
            virtual_seconds,
        });
        self.commands.push(Command::End(Box::new(outcome)));
    }
}

/// Each client's timeline, at time 0.
fn timelines(plan: &FederationPlan) -> Vec<Timeline> {
    let timeline = |client: &crate::plan::ClientPlan| {
        let availability = &client.profile.availability;
        availability.timeline(plan.seed, &client.name)
    };
    plan.clients.iter().map(timeline).collect()
}

#[cfg(test)]
mod tests;
