//! Statistics of a run and of its clients, computed from its events.

use std::collections::BTreeMap;
use std::path::Path;

use regatta_actors::ids::ClientId;
use regatta_actors::journal::ledger;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::control::Intervention;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::outcome::{EndReason, RecordError};
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};

use crate::runs::history::participation::{
    InProgress, Participation, ParticipationEnd, ParticipationEvent,
};

/// A run as its events tell it, of a size that does not grow with its rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunStats {
    /// The run's name.
    pub run: String,
    /// Rounds planned.
    pub rounds_planned: u32,
    /// Rounds finished.
    pub rounds: u32,
    /// Rounds in which nothing was aggregated because too few updates came.
    pub skipped: u32,
    /// Rounds that were not skipped, and in which every update that came was refused.
    pub refused: u32,
    /// Times that a round selected clients again.
    pub retries: u32,
    /// Times that the server crashed, as scripted.
    pub server_crashes: u32,
    /// Control commands, in order.
    pub interventions: Vec<Intervention>,
    /// Virtual seconds from the start to the last event that tells them.
    pub virtual_seconds: f64,
    /// How it ended; `None`: it has not, or with an error.
    pub ending: Option<EndReason>,
    /// The error that ended it, if any.
    pub error: Option<String>,
    /// The clients.
    pub clients: BTreeMap<ClientId, ClientStats>,
    /// The participations that have not ended.
    pub in_progress: InProgress,
    /// Whether the server refused an update of the current round.
    server_refused: bool,
}

/// One client's part in a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientStats {
    /// Its name.
    pub name: String,
    /// Examples in its shard.
    pub examples: u64,
    /// Times it was selected to train.
    pub selected: u32,
    /// Its rounds by how they ended.
    pub outcomes: BTreeMap<Outcome, u32>,
    /// Updates that came too long after their round, or twice, and were dropped.
    pub dropped_updates: u32,
    /// Times it was started again after a failure.
    pub restarts: u32,
    /// Whether it failed more often than its budget allows.
    pub retired: bool,
    /// Faults that affected it.
    pub faults: BTreeMap<FaultName, u32>,
    /// Bytes that it sent.
    pub bytes_up: u64,
    /// Bytes that it was sent.
    pub bytes_down: u64,
    /// Virtual seconds of lost work, and of waiting for a restart.
    pub lost_seconds: f64,
}

impl RunStats {
    /// Reads a ledger, also that of a run that is active or was killed.
    ///
    /// # Errors
    /// If the file cannot be read, or a line of it is not an event.
    pub fn read(ledger: &Path) -> Result<Self, RecordError> {
        let mut stats = Self::default();
        for entry in ledger::read(ledger)? {
            stats.take(&entry?.event);
        }
        Ok(stats)
    }

    /// Takes the next event in, and says what it means for the participations that it concerns.
    pub fn take(&mut self, event: &Event) -> Vec<ParticipationEvent> {
        match event {
            Event::RunStarted {
                run,
                rounds,
                clients,
                ..
            }
            | Event::RunResumed {
                run,
                rounds,
                clients,
                ..
            } => {
                self.run.clone_from(run);
                self.rounds_planned = *rounds;
                self.introduce(clients);
            }
            Event::RoundRetried { .. } => self.retries += 1,
            Event::RoundSkipped { .. } => self.skipped += 1,
            // A round that is skipped hands nothing to the server that it could refuse.
            Event::Aggregated { aggregation, .. } => {
                self.server_refused = !aggregation.refused.is_empty();
            }
            Event::ServerCrashed { .. } => self.server_crashes += 1,
            Event::Intervention(intervention) => self.interventions.push(*intervention),
            Event::UpdateDuplicated { client, .. } => self.client(*client).dropped_updates += 1,
            Event::RoundFinished(record) => self.finish_round(record),
            Event::RunFinished { ending, error, .. } => {
                self.ending = *ending;
                self.error.clone_from(error);
            }
            _ => {}
        }
        let happened = self.in_progress.take(event);
        happened.iter().for_each(|event| self.note(event));
        happened
    }

    /// Takes in who the clients are.
    pub fn introduce(&mut self, clients: &[ClientInfo]) {
        for info in clients {
            let stats = self.client(info.client);
            stats.name.clone_from(&info.name);
            stats.examples = info.examples;
        }
    }

    fn note(&mut self, event: &ParticipationEvent) {
        match event {
            ParticipationEvent::Selected(participation) => {
                self.client(participation.client).selected += 1;
            }
            ParticipationEvent::FaultInjected(client, fault) => {
                *self.client(*client).faults.entry(*fault).or_default() += 1;
            }
            ParticipationEvent::Ended(participation) => {
                self.client(participation.client).note_end(participation);
            }
            ParticipationEvent::Late(_) => {}
        }
    }

    fn finish_round(&mut self, record: &RoundRecord) {
        self.rounds = record.round;
        self.refused += u32::from(self.server_refused && record.all_refused());
        self.virtual_seconds = record.virtual_seconds;
        for client in &record.clients {
            let stats = self.client(client.client);
            *stats.outcomes.entry(client.outcome).or_default() += 1;
            stats.bytes_up = stats.bytes_up.saturating_add(client.bytes_up);
            stats.bytes_down = stats.bytes_down.saturating_add(client.bytes_down);
        }
    }

    fn client(&mut self, client: ClientId) -> &mut ClientStats {
        self.clients.entry(client).or_default()
    }
}

impl ClientStats {
    /// The number of its rounds with this outcome.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u32 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// The number of its rounds without an aggregated update.
    #[must_use]
    pub fn missed(&self) -> u32 {
        self.outcomes.values().sum::<u32>() - self.ended(Outcome::Aggregated)
    }

    fn note_end(&mut self, participation: &Participation) {
        match participation.end {
            ParticipationEnd::Arrived
            | ParticipationEnd::Refused
            | ParticipationEnd::Late
            | ParticipationEnd::Open => return,
            ParticipationEnd::Dropped { .. } | ParticipationEnd::Lost => {}
            ParticipationEnd::Failed { back_at } => {
                self.retired = back_at.is_none();
                self.restarts += u32::from(back_at.is_some());
            }
            ParticipationEnd::Stale => self.dropped_updates += 1,
        }
        self.lost_seconds += participation.seconds();
        self.lost_seconds += participation.restart_seconds();
    }
}
