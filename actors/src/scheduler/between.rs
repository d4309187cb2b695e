//! Between two rounds: the state is saved, commands from outside take effect, the run may wait or
//! stop.

use super::{Phase, Scheduler};
use crate::control::{ControlCommand, Intervention, SLOWDOWNS};
use crate::event::{ClientState, Event};
use crate::learner::ClientId;
use crate::message::ServerCommand;
use crate::run::Ending;

impl Scheduler {
    pub(super) fn control(&mut self, command: ControlCommand) {
        match command {
            ControlCommand::StopNow => return self.end(Ok(Ending::StoppedAtOnce)),
            ControlCommand::Pause => self.paused = true,
            ControlCommand::Resume => self.paused = false,
            ControlCommand::Checkpoint => self.save_requested = true,
            _ => self.queue.push(command),
        }
        if self.phase == Phase::Paused {
            self.between_rounds();
        }
    }

    /// A round is over.
    pub(super) fn between_rounds(&mut self) {
        if self.is_last_round() {
            self.finish();
        } else if self.saves && self.save_is_due() {
            self.phase = Phase::Settling;
            self.save_when_settled();
        } else {
            self.go_on();
        }
    }

    fn save_is_due(&self) -> bool {
        let (round, every) = (self.state.round, self.plan.checkpoints.every);
        let stops = self.queue.contains(&ControlCommand::FinishRound);
        self.saved != Some(round)
            && (self.save_requested || stops || (every > 0 && round.is_multiple_of(every)))
    }

    /// Saves once the machine is done with all jobs that go on: their updates are saved too.
    pub(super) fn save_when_settled(&mut self) {
        if !self.state.is_settled() {
            return;
        }
        self.phase = Phase::Saving;
        self.save_requested = false;
        match self.state.to_bytes() {
            Ok(state) => self.ask_server(ServerCommand::Save {
                round: self.state.round,
                recorded: self.state.recorded,
                state,
            }),
            Err(error) => {
                let error = format!("the scheduler's state cannot be written: {error}");
                self.fail(crate::run::RunError::Broken(error));
            }
        }
    }

    pub(super) fn saved(&mut self, round: u32, bytes: u64) {
        self.saved = Some(round);
        self.emit(Event::Checkpointed { round, bytes });
        if self.phase == Phase::Saving {
            self.go_on();
        }
    }

    /// Does what was wanted from outside, then opens the next round, unless that was to stop.
    pub(super) fn go_on(&mut self) {
        self.intervene_as_known();
        for command in std::mem::take(&mut self.queue) {
            if self.is_sensible(command) {
                let intervention = Intervention {
                    after_round: self.state.round,
                    command,
                };
                self.interventions.push(intervention);
                self.intervene(intervention);
            }
        }
        if self.stop_requested {
            self.stop();
        } else if self.paused {
            self.phase = Phase::Paused;
            self.emit(Event::Paused {
                round: self.state.round,
            });
        } else {
            self.open(self.state.round + 1);
        }
    }

    /// Commands known from a ledger, or from before the server was built again.
    fn intervene_as_known(&mut self) {
        let round = self.state.round;
        while let Some(&next) = self.interventions.get(self.state.intervened)
            && next.after_round <= round
        {
            self.intervene(next);
        }
    }

    fn is_sensible(&self, command: ControlCommand) -> bool {
        let known = |client: ClientId| (client.0 as usize) < self.plan.clients.len();
        let sensible = match command {
            ControlCommand::DropClient { client } | ControlCommand::RestoreClient { client } => {
                known(client)
            }
            ControlCommand::SlowClient { client, factor } => {
                known(client) && SLOWDOWNS.contains(&factor)
            }
            _ => true,
        };
        if !sensible {
            tracing::warn!("a command makes no sense and is left out: {command:?}");
        }
        sensible
    }

    fn intervene(&mut self, intervention: Intervention) {
        self.state.intervened += 1;
        self.emit(Event::Intervention(intervention));
        match intervention.command {
            ControlCommand::FinishRound => self.stop_requested = true,
            ControlCommand::DropClient { client } => {
                self.state.member(client).barred = true;
                self.show(client, ClientState::Dropped);
            }
            ControlCommand::RestoreClient { client } => {
                let member = self.state.member(client);
                member.barred = false;
                member.retired = false;
                member.failures.clear();
                self.show(client, ClientState::Idle);
            }
            ControlCommand::SlowClient { client, factor } => {
                self.state.member(client).slow = factor;
            }
            _ => {}
        }
    }

    /// Told to stop: scores the state if the round did not, and leaves everything written.
    fn stop(&mut self) {
        let scored = self.state.last.as_ref().is_some_and(|r| r.eval.is_some());
        if scored || self.plan.eval_every == 0 {
            return self.finish();
        }
        self.phase = Phase::LastEvaluation;
        self.round.began = self.wall;
        self.ask_server(ServerCommand::Evaluate {
            round: self.state.round,
        });
    }

    pub(super) fn finish(&mut self) {
        self.phase = Phase::Finishing;
        self.ask_server(ServerCommand::Finish {
            round: self.state.round,
        });
    }

    pub(super) fn end_well(&mut self) {
        self.end(Ok(if self.is_last_round() {
            Ending::Complete
        } else {
            Ending::StoppedAfterRound
        }));
    }
}
