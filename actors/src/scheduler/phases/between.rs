//! Between two rounds: the state is saved, commands from outside take effect, the run may wait or
//! stop.

use crate::ids::ClientId;
use crate::protocol::client_state::ClientState;
use crate::protocol::command::ServerCommand;
use crate::protocol::control::{ControlCommand, Intervention, SLOWDOWNS};
use crate::protocol::event::Event;
use crate::protocol::outcome::{EndReason, RunError};
use crate::scheduler::Phase;
use crate::scheduler::Scheduler;

impl Scheduler {
    pub(in crate::scheduler) fn control(&mut self, command: ControlCommand) {
        match command {
            ControlCommand::StopNow => return self.end(Ok(EndReason::StoppedAtOnce)),
            ControlCommand::Pause => self.paused = true,
            ControlCommand::Resume => self.paused = false,
            ControlCommand::Checkpoint => self.save_requested = true,
            _ => self.take_up(command),
        }
        if self.phase == Phase::Paused {
            self.between_rounds();
        }
    }

    fn take_up(&mut self, command: ControlCommand) {
        match self.intervention(command) {
            Ok(Some(intervention)) => {
                let before = |i: &Intervention| i.after_round <= intervention.after_round;
                let at = self.interventions.partition_point(before);
                self.interventions.insert(at, intervention);
            }
            Ok(None) => {}
            Err(reason) => tracing::warn!("a command makes no sense and is left out: {reason}"),
        }
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
        match command {
            ControlCommand::StopNow
            | ControlCommand::Pause
            | ControlCommand::Resume
            | ControlCommand::Checkpoint => return Ok(None),
            ControlCommand::FinishRound => {}
            ControlCommand::DropClient { client } | ControlCommand::RestoreClient { client } => {
                self.known(client)?;
            }
            ControlCommand::SlowClient { client, factor } => {
                self.known(client)?;
                if !SLOWDOWNS.contains(&factor) {
                    return Err(format!("a client cannot take {factor} times as long"));
                }
            }
        }
        // What is done again after a crash of the server is in the ledger already.
        let after_round = self.state.round.max(self.reached).max(1);
        Ok(Some(Intervention {
            after_round,
            command,
        }))
    }

    fn known(&self, client: ClientId) -> Result<(), String> {
        match (client.0 as usize) < self.plan.clients.len() {
            true => Ok(()),
            false => Err(format!("the run has no client {client}")),
        }
    }

    /// A round is over.
    pub(in crate::scheduler) fn between_rounds(&mut self) {
        if self.is_last_round() && !self.state.aggregated {
            // The model is the one that the run began with: no result to leave behind.
            let last_refusal = self.state.last_refusal.take();
            self.fail(RunError::NothingAggregated {
                rounds: self.state.round,
                refused: self.state.rounds_refused,
                last_refusal,
            });
        } else if self.is_last_round() {
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
        let mut due = self.due();
        let stops = due.any(|i| i.command == ControlCommand::FinishRound);
        self.saved != Some(round)
            && (self.save_requested || stops || (every > 0 && round.is_multiple_of(every)))
    }

    /// Saves once the machine is done with all jobs that go on: their updates are saved too.
    pub(in crate::scheduler) fn save_when_settled(&mut self) {
        if !self.state.is_settled() {
            return;
        }
        self.phase = Phase::Saving;
        self.save_requested = false;
        match self.state.to_bytes() {
            Ok(state) => self.ask_server(ServerCommand::Save {
                round: self.state.round,
                recorded: self.state.recorded,
                ledger: None,
                state,
            }),
            Err(error) => {
                let error = format!("the scheduler's state cannot be written: {error}");
                self.fail(RunError::Broken(error));
            }
        }
    }

    pub(in crate::scheduler) fn saved(&mut self, round: u32, bytes: u64) {
        self.saved = Some(round);
        self.emit(Event::Checkpointed { round, bytes });
        if self.phase == Phase::Saving {
            self.go_on();
        }
    }

    /// Does what was wanted from outside, then opens the next round, unless that was to stop.
    pub(in crate::scheduler) fn go_on(&mut self) {
        for next in self.due().collect::<Vec<_>>() {
            self.intervene(next);
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

    /// Commands that take effect before the next round.
    fn due(&self) -> impl Iterator<Item = Intervention> + '_ {
        let round = self.state.round;
        let open = self.interventions.iter().skip(self.state.intervened);
        open.copied().take_while(move |i| i.after_round <= round)
    }

    fn intervene(&mut self, intervention: Intervention) {
        self.state.intervened += 1;
        self.emit(Event::Intervention(intervention));
        match intervention.command {
            ControlCommand::FinishRound => self.stop_requested = true,
            ControlCommand::DropClient { client } => {
                self.state.client(client).excluded = true;
                self.show(client, ClientState::Dropped);
            }
            ControlCommand::RestoreClient { client } => {
                let entry = self.state.client(client);
                entry.excluded = false;
                entry.retired = false;
                entry.failures.clear();
                self.show(client, ClientState::Idle);
            }
            ControlCommand::SlowClient { client, factor } => {
                self.state.client(client).slow = factor;
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

    pub(in crate::scheduler) fn finish(&mut self) {
        self.phase = Phase::Finishing;
        self.ask_server(ServerCommand::Finish {
            round: self.state.round,
        });
    }

    pub(in crate::scheduler) fn end_well(&mut self) {
        self.end(Ok(if self.is_last_round() {
            EndReason::Complete
        } else {
            EndReason::StoppedAfterRound
        }));
    }
}
