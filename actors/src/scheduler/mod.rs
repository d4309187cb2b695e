//! The scheduler: a state machine that turns what happened into what to do next.
//!
//! It holds no tensor, no thread and no clock of its own: [`Scheduler::step`] takes an [`Input`]
//! and the wall time, and returns [`Command`]s. The order in which updates count is that of
//! virtual time: an update that the machine has early waits for its turn, and a turn whose update
//! the machine has not yet waits for it. So the outcome does not depend on threads.

mod collect;
mod round;

use std::sync::Arc;

use crate::clock::VirtualClock;
use crate::control::ControlCommand;
use crate::event::{ClientInfo, Event};
use crate::learner::{Aggregation, ClientId, Scores};
use crate::message::{Input, RunId, ServerCommand, Stamp};
use crate::plan::FederationPlan;
use crate::record::RoundRecord;
use crate::run::{Ending, RunError, RunOutcome};

use round::Round;

/// What the scheduler wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The server is to do this.
    Server(ServerCommand),
    /// The client is to train, from the state that was opened last.
    Train(Stamp),
    /// The observers are to know.
    Emit(Event),
    /// The run is over, and nothing follows.
    End(Box<Result<RunOutcome, RunError>>),
}

/// What is due at some point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// A client is done training and begins to send.
    Trained(Stamp),
    /// A client's update is with the server.
    Arrived(Stamp),
}

/// What the run is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Opening,
    Collecting,
    Aggregating,
    Evaluating,
    Finishing,
    Over,
}

/// The state of a run.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<FederationPlan>,
    run: RunId,
    phase: Phase,
    /// What must be up before the first round: the lanes and the actors.
    starting: u32,
    clock: VirtualClock<Due>,
    /// By client: the round whose starting state it holds.
    holds: Vec<Option<u32>>,
    round: Round,
    /// The last finished round.
    last: Option<RoundRecord>,
    stop_requested: bool,
    /// Wall seconds since the run's start, at the current step.
    wall: f64,
    commands: Vec<Command>,
}

impl Scheduler {
    /// A scheduler before its first step.
    #[must_use]
    pub fn new(plan: Arc<FederationPlan>) -> Self {
        Self {
            run: plan.run_id(),
            phase: Phase::Starting,
            starting: plan.lanes + 1,
            clock: VirtualClock::default(),
            holds: vec![None; plan.clients.len()],
            round: Round::new(0, 0.0),
            last: None,
            stop_requested: false,
            wall: 0.0,
            commands: Vec::new(),
            plan,
        }
    }

    /// Takes in what happened, at `wall` seconds since the run's start (for measurements only),
    /// and returns what to do, in this order.
    pub fn step(&mut self, input: Input, wall: f64) -> Vec<Command> {
        self.wall = wall;
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
                    self.broadcast(|holds| bytes_down.get(&holds).copied().unwrap_or(0));
                }
            }
            Input::Received { stamp, receipt } => self.receive(stamp, receipt),
            Input::JobFailed {
                stamp,
                lane,
                reason,
            } => self.job_failed(stamp, lane, reason),
            Input::LaneFailed { lane, reason } => self.fail(RunError::Lane { lane, reason }),
            Input::Aggregated { round, aggregation } => {
                if self.expects(Phase::Aggregating, round) {
                    self.aggregated(aggregation);
                }
            }
            Input::Evaluated { round, scores } => {
                if self.expects(Phase::Evaluating, round) {
                    self.evaluated(scores);
                }
            }
            Input::Finished => {
                if self.phase == Phase::Finishing {
                    self.end_well();
                }
            }
            Input::ServerFailed {
                round,
                task,
                reason,
            } => self.fail(RunError::Server {
                round,
                task,
                reason,
            }),
            Input::Control(ControlCommand::FinishRound) => self.stop_requested = true,
            Input::Control(ControlCommand::StopNow) => self.end(Ok(Ending::StoppedAtOnce)),
        }
    }

    fn expects(&self, phase: Phase, round: u32) -> bool {
        self.phase == phase && self.round.number == round
    }

    fn emit(&mut self, event: Event) {
        self.commands.push(Command::Emit(event));
    }

    fn ask_server(&mut self, command: ServerCommand) {
        self.commands.push(Command::Server(command));
    }

    fn one_more_is_up(&mut self) {
        self.starting = self.starting.saturating_sub(1);
        if self.phase == Phase::Starting && self.starting == 0 {
            self.start();
        }
    }

    fn start(&mut self) {
        let clients = self.plan.numbered();
        let clients = clients
            .map(|(client, plan)| ClientInfo {
                client,
                name: plan.name.clone(),
                examples: plan.examples,
            })
            .collect();
        self.emit(Event::RunStarted {
            run: self.plan.run.clone(),
            rounds: self.plan.rounds,
            lanes: self.plan.lanes,
            clients,
        });
        self.open(1);
    }

    /// Clients asked to train this round, in client order.
    fn select(&self) -> impl Iterator<Item = ClientId> + use<> {
        (0..self.holds.len() as u32).map(ClientId)
    }

    fn open(&mut self, number: u32) {
        self.phase = Phase::Opening;
        self.round = Round::new(number, self.wall);
        let holds = self.select().map(|c| self.holds[c.0 as usize]).collect();
        self.ask_server(ServerCommand::Open {
            round: number,
            holds,
        });
    }

    fn aggregated(&mut self, aggregation: Aggregation) {
        let seconds = self.wall - self.round.began;
        self.round.seconds.aggregate = seconds;
        self.round.began = self.wall;
        self.emit(Event::Aggregated {
            round: self.round.number,
            aggregation: aggregation.clone(),
            seconds,
        });
        self.round.aggregation = aggregation;
        if self.evaluation_is_due() {
            self.phase = Phase::Evaluating;
            self.ask_server(ServerCommand::Evaluate {
                round: self.round.number,
            });
        } else {
            self.finish_round();
        }
    }

    fn is_last_round(&self) -> bool {
        self.stop_requested || self.round.number >= self.plan.rounds
    }

    fn evaluation_is_due(&self) -> bool {
        let every = self.plan.eval_every;
        every > 0 && (self.round.number.is_multiple_of(every) || self.is_last_round())
    }

    fn evaluated(&mut self, scores: Scores) {
        let seconds = self.wall - self.round.began;
        self.round.seconds.evaluate = seconds;
        self.emit(Event::Evaluated {
            round: self.round.number,
            scores: scores.clone(),
            seconds,
        });
        self.round.scores = Some(scores);
        self.finish_round();
    }

    fn finish_round(&mut self) {
        let record = self.round.record(&self.plan, self.clock.now());
        self.emit(Event::RoundFinished(record.clone()));
        let round = record.round;
        self.last = Some(record);
        if self.is_last_round() {
            self.phase = Phase::Finishing;
            self.ask_server(ServerCommand::Finish { round });
        } else {
            self.open(round + 1);
        }
    }

    fn end_well(&mut self) {
        let complete = self.last.as_ref().map(|last| last.round) == Some(self.plan.rounds);
        self.end(Ok(if complete {
            Ending::Complete
        } else {
            Ending::StoppedAfterRound
        }));
    }

    fn fail(&mut self, error: RunError) {
        self.end(Err(error));
    }

    fn end(&mut self, result: Result<Ending, RunError>) {
        self.phase = Phase::Over;
        let rounds = self.last.as_ref().map_or(0, |last| last.round);
        let virtual_seconds = self.clock.now().seconds();
        self.emit(Event::RunFinished {
            rounds,
            virtual_seconds,
            ending: result.as_ref().ok().copied(),
            error: result.as_ref().err().map(ToString::to_string),
        });
        let last = self.last.take();
        let outcome = result.map(|ending| RunOutcome {
            ending,
            rounds,
            last,
            virtual_seconds,
        });
        self.commands.push(Command::End(Box::new(outcome)));
    }
}

#[cfg(test)]
mod tests;
