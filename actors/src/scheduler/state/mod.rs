//! What lasts from round to round: the part of the scheduler that a checkpoint holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::VirtualClock;
use crate::ids::ClientId;
use crate::plan::FederationPlan;
use crate::protocol::round_record::RoundRecord;
use crate::scheduler::fleet::Fleet;
use crate::scheduler::in_flight::{Due, InFlight, InFlightJob};

/// What a checkpoint holds of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "SavedState", into = "SavedState")]
pub(super) struct State {
    /// The current round, from 1; 0 before the first.
    pub round: u32,
    pub fleet: Fleet,
    pub in_flight: InFlight,
    /// Entries in the ledger.
    pub recorded: u64,
    /// Commands from outside that took effect.
    pub intervened: usize,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Whether any update was aggregated so far.
    pub aggregated: bool,
    /// Rounds in which updates came and every one was refused.
    pub rounds_refused: u32,
    /// Why an update was last refused.
    pub last_refusal: Option<String>,
}

/// The state as checkpoints have it: flat, whatever parts the scheduler has.
#[derive(Serialize, Deserialize)]
struct SavedState {
    round: u32,
    clock: VirtualClock<Due>,
    /// By client.
    #[serde(alias = "members")]
    clients: Fleet,
    /// The jobs under way, by client.
    #[serde(alias = "flights")]
    in_flight: BTreeMap<ClientId, InFlightJob>,
    recorded: u64,
    intervened: usize,
    last: Option<RoundRecord>,
    /// A run that was saved before this was noted is taken to have aggregated something.
    #[serde(default = "yes", alias = "folded")]
    aggregated: bool,
    #[serde(default)]
    rounds_refused: u32,
    #[serde(default)]
    last_refusal: Option<String>,
}

fn yes() -> bool {
    true
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        Self {
            round: saved.round,
            fleet: saved.clients,
            in_flight: InFlight {
                jobs: saved.in_flight,
                clock: saved.clock,
            },
            recorded: saved.recorded,
            intervened: saved.intervened,
            last: saved.last,
            aggregated: saved.aggregated,
            rounds_refused: saved.rounds_refused,
            last_refusal: saved.last_refusal,
        }
    }
}

impl From<State> for SavedState {
    fn from(state: State) -> Self {
        Self {
            round: state.round,
            clock: state.in_flight.clock,
            clients: state.fleet,
            in_flight: state.in_flight.jobs,
            recorded: state.recorded,
            intervened: state.intervened,
            last: state.last,
            aggregated: state.aggregated,
            rounds_refused: state.rounds_refused,
            last_refusal: state.last_refusal,
        }
    }
}

impl State {
    /// The state before the first round.
    pub fn new(clients: usize) -> Self {
        Self {
            round: 0,
            fleet: Fleet::new(clients),
            in_flight: InFlight::default(),
            recorded: 0,
            intervened: 0,
            last: None,
            aggregated: false,
            rounds_refused: 0,
            last_refusal: None,
        }
    }

    /// Virtual seconds since the run's start.
    pub fn virtual_seconds(&self) -> f64 {
        self.in_flight.now().seconds()
    }

    /// Whether the current round is the plan's last.
    pub fn is_last_round(&self, plan: &FederationPlan) -> bool {
        self.round >= plan.rounds
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
        let there = state.fleet.len();
        if there == clients {
            Ok(state)
        } else {
            Err(format!(
                "it is of {there} clients, and the plan has {clients}"
            ))
        }
    }
}

#[cfg(test)]
mod tests;
