//! A server that died: everything goes back to the last checkpoint, and is done again from there.
//!
//! What is done again gives the same events, which were told before and are not told again. So a
//! crash costs work and, if the plan says so, virtual time; it changes nothing else.

use crate::ids::RunId;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::event::Event;
use crate::protocol::outcome::{RunError, ServerTask};
use crate::scheduler::Scheduler;
use crate::scheduler::state::State;
use crate::scheduler::{Phase, timelines};

impl Scheduler {
    /// Has the server built anew from its last checkpoint, and gives up all that is under way.
    pub(in crate::scheduler) fn recover(&mut self) {
        let in_flight = std::mem::take(&mut self.state.in_flight);
        let ids = in_flight.into_values().map(|job| job.id);
        self.commands.extend(ids.map(Command::Cancel));
        // Replies to what was under way are no replies to what will be.
        self.run = RunId(self.run.0.wrapping_add(1));
        self.phase = Phase::Recovering;
        self.ask_server(ServerCommand::Recover { run: self.run });
    }

    pub(in crate::scheduler) fn recovered(&mut self, state: Option<Vec<u8>>) {
        if self.phase != Phase::Recovering {
            return;
        }
        let result = match state {
            Some(bytes) => self.restore(&bytes),
            None => {
                self.state = State::new(self.plan.clients.len());
                self.timelines = timelines(&self.plan);
                Ok(())
            }
        };
        if let Err(reason) = result {
            let reason = format!("the checkpoint of the scheduler's state: {reason}");
            return self.fail(RunError::Broken(reason));
        }
        if self.state.round == 0 {
            self.resumed = false;
            self.start();
        } else {
            self.go_on();
        }
    }

    /// Takes up a state that was saved.
    pub(in crate::scheduler) fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.state = State::from_bytes(bytes, self.plan.clients.len())?;
        self.state.with_attempt(self.run);
        // Of a run without a ledger, older versions forgot which commands it had followed.
        let round = self.state.round;
        let known = self
            .interventions
            .iter()
            .take_while(|i| i.after_round <= round);
        self.state.intervened = self.state.intervened.min(known.count());
        self.timelines = timelines(&self.plan);
        Ok(())
    }

    /// The server failed, as no plan has it. With a checkpoint at hand it is built anew, as often
    /// as the restart budget allows without a finished round in between.
    pub(in crate::scheduler) fn server_failed(
        &mut self,
        round: u32,
        task: ServerTask,
        reason: String,
    ) {
        let work = [
            ServerTask::Open,
            ServerTask::Receive,
            ServerTask::Aggregate,
            ServerTask::Evaluate,
        ];
        let again = work.contains(&task)
            && self.saved.is_some()
            && self.server_failures < self.plan.restart.budget;
        if !again {
            return self.fail(RunError::Server {
                round,
                task,
                reason,
            });
        }
        self.server_failures += 1;
        tracing::warn!("the server failed to {task} in round {round} and is built again: {reason}");
        self.emit(Event::ServerFailed { round, reason });
        self.recover();
    }
}
