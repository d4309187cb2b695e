//! What lasts from round to round: the part of the scheduler that a checkpoint holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::VirtualClock;
use crate::ids::{ClientId, JobId, RunId};
use crate::protocol::round_record::RoundRecord;
use crate::scheduler::fleet::ClientEntry;
use crate::scheduler::in_flight::{Due, InFlightJob, JobState};

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The current round, from 1; 0 before the first.
    pub round: u32,
    pub clock: VirtualClock<Due>,
    /// By client.
    #[serde(alias = "members")]
    pub clients: Vec<ClientEntry>,
    /// The jobs under way, by client.
    #[serde(alias = "flights")]
    pub in_flight: BTreeMap<ClientId, InFlightJob>,
    /// Entries in the ledger.
    pub recorded: u64,
    /// Commands from outside that took effect.
    pub intervened: usize,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Whether any update was aggregated so far. Of a run that was saved before this was noted, it is
    /// taken to be so.
    #[serde(default = "yes", alias = "folded")]
    pub aggregated: bool,
    /// Rounds in which updates came and every one was refused.
    #[serde(default)]
    pub rounds_refused: u32,
    /// Why an update was last refused.
    #[serde(default)]
    pub last_refusal: Option<String>,
}

fn yes() -> bool {
    true
}

impl State {
    /// The state before the first round.
    pub fn new(clients: usize) -> Self {
        Self {
            round: 0,
            clock: VirtualClock::default(),
            clients: vec![ClientEntry::default(); clients],
            in_flight: BTreeMap::new(),
            recorded: 0,
            intervened: 0,
            last: None,
            aggregated: false,
            rounds_refused: 0,
            last_refusal: None,
        }
    }

    /// Notes of a finished round whether it aggregated anything, or refused all.
    pub fn note_outcome(&mut self, record: &RoundRecord) {
        self.aggregated |= record.aggregated() > 0;
        self.rounds_refused += u32::from(record.all_refused());
        if let Some(refusal) = record.refused.first() {
            let name = record.name(refusal.client);
            self.last_refusal = Some(format!("{name}: {}", refusal.reason));
        }
    }

    pub fn client(&mut self, client: ClientId) -> &mut ClientEntry {
        &mut self.clients[client.0 as usize]
    }

    /// The job under this very stamp, if it goes on.
    pub fn job(&mut self, id: JobId) -> Option<&mut InFlightJob> {
        let job = self.in_flight.get_mut(&id.client)?;
        (job.id == id).then_some(job)
    }

    /// Whether this very job goes on and the machine is not done with it.
    pub fn is_busy(&self, id: JobId) -> bool {
        self.in_flight
            .get(&id.client)
            .is_some_and(|job| job.id == id && matches!(job.state, JobState::Busy))
    }

    /// Whether the machine is done with every job.
    pub fn is_settled(&self) -> bool {
        let busy = |job: &InFlightJob| matches!(job.state, JobState::Busy);
        !self.in_flight.values().any(busy)
    }

    /// Stamps everything with another run.
    pub fn with_attempt(&mut self, run: RunId) {
        self.in_flight.values_mut().for_each(|f| f.id.run = run);
        self.clock.change(|due| {
            if let Some(id) = due.job_mut() {
                id.run = run;
            }
        });
    }

    /// As bytes.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn to_bytes(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(self)
    }

    /// From bytes that [`State::to_bytes`] gave for a fleet of this size.
    ///
    /// # Errors
    /// When they are something else.
    pub fn from_bytes(bytes: &[u8], clients: usize) -> Result<Self, String> {
        let state: Self = rmp_serde::from_slice(bytes).map_err(|e| e.to_string())?;
        if state.clients.len() == clients {
            Ok(state)
        } else {
            let there = state.clients.len();
            Err(format!(
                "it is of {there} clients, and the plan has {clients}"
            ))
        }
    }
}
