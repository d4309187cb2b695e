//! What a step of the scheduler hands out.

use crate::ids::{ClientId, JobId};
use crate::protocol::client_state::ClientState;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::event::Event;
use crate::scheduler::in_flight::{InFlightJob, JobState};
use crate::scheduler::state::State;

/// The commands of a step, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    commands: Vec<Command>,
    /// Ledger entries that were reported; those up to it are not reported again.
    reported: u64,
    /// Wall seconds since the run's start, at the current step.
    pub wall: f64,
}

impl Output {
    /// The output of a run whose first `reported` ledger entries are known.
    pub fn new(reported: u64) -> Self {
        Self {
            reported,
            ..Self::default()
        }
    }

    /// The commands since the last call.
    pub fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Adds a command.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Adds a command for the server.
    pub fn send_to_server(&mut self, command: ServerCommand) {
        self.push(Command::Server(command));
    }

    /// Shows a client in a state, with the number of the round.
    pub fn set_client_state(&mut self, round: u32, client: ClientId, state: ClientState) {
        self.push(Command::SetClientState {
            round,
            client,
            state,
        });
    }

    /// Notifies the observers of an event, and the ledger if it belongs there.
    pub fn emit(&mut self, state: &mut State, event: Event) {
        if !event.is_recorded() {
            return self.push(Command::Emit(event));
        }
        state.recorded += 1;
        // What is repeated after a crash of the server was reported before.
        if state.recorded > self.reported {
            self.reported = state.recorded;
            self.push(Command::Record {
                sequence: self.reported,
                time: state.in_flight.now(),
                event,
            });
        }
    }

    /// Whether the run repeats what was reported before.
    pub fn is_repeating(&self, state: &State) -> bool {
        state.recorded < self.reported
    }

    /// From here on all is new, even if the run was repeating what was reported before.
    pub fn stop_repeating(&self, state: &mut State) {
        state.recorded = self.reported;
    }

    /// Has the server drop an update.
    pub fn discard(&mut self, id: JobId) {
        self.send_to_server(ServerCommand::Discard { id });
    }

    /// Gives a job up: its client stops, or its update is discarded.
    pub fn cancel(&mut self, job: &InFlightJob) {
        match job.state {
            JobState::Busy => self.push(Command::Cancel(job.id)),
            JobState::Done(_) => self.discard(job.id),
            JobState::Failed { .. } => {}
        }
    }
}
