//! The receivers of a run's events: its observers, its ledger, its status board.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clock::VirtualTime;
use crate::ids::ClientId;
use crate::journal::interventions::InterventionLog;
use crate::journal::ledger::{self, Entry, Sink};
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::protocol::client_state::ClientState;
use crate::protocol::control::{Intervention, RunStatus};
use crate::protocol::event::Event;
use crate::protocol::outcome::RecordError;

/// The receivers of a run's events and status.
pub(crate) struct Outputs {
    pub bus: Bus,
    pub board: Arc<Board>,
    pub status: Arc<Mutex<RunStatus>>,
    pub sink: Option<Box<dyn Sink + Send>>,
    pub log: Option<InterventionLog>,
    /// Tells the lanes that the run is to end after its round.
    pub finishing: watch::Sender<bool>,
}

impl Outputs {
    /// Notifies the observers of an event, then the ledger.
    pub fn record(
        &mut self,
        sequence: u64,
        time: VirtualTime,
        event: Event,
    ) -> Result<(), RecordError> {
        let Some(sink) = &mut self.sink else {
            self.bus.emit(event);
            return Ok(());
        };
        let entry = Entry {
            sequence,
            time,
            event: event.clone().without_wall_time(),
        };
        // Reported first, so that observers see the end of a run whose ledger cannot be written.
        self.bus.emit(event);
        sink.record(sequence, &ledger::line(&entry)?)?;
        match entry.event {
            // A control command must not be lost, as it cannot be repeated.
            Event::Intervention(_) | Event::RunFinished { .. } => sink.sync(),
            Event::RoundFinished(_) => sink.flush(),
            _ => Ok(()),
        }
    }

    /// Makes sure that the ledger is on the disk.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.sync())
    }

    /// Writes down what somebody outside wants.
    pub fn keep(&mut self, intervention: &Intervention) -> Result<(), RecordError> {
        let log = self.log.as_mut();
        log.map_or(Ok(()), |log| log.keep(intervention))
    }

    /// Shows a client in a state.
    pub fn show(&self, round: u32, client: ClientId, state: ClientState) {
        self.board.update(client, |status| {
            status.state = state;
            status.progress = None;
        });
        self.bus.emit(Event::ClientState {
            round,
            client,
            state,
            lane: None,
        });
    }
}
