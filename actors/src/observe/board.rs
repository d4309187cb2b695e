//! The status board: what each client is doing right now.
//!
//! A client writes its own entry; pages, gauges and progress bars read them without disturbing
//! anybody. It is a picture for people: nothing is decided from it.

use std::time::Instant;

use dashmap::DashMap;

use crate::ids::{ClientId, LaneId};
use crate::protocol::client_state::ClientState;
use crate::workload::job::Progress;

/// One client's entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientStatus {
    /// Its current state.
    pub state: ClientState,
    /// The last round that it was selected in; 0 before its first.
    pub round: u32,
    /// The lane of its last job.
    pub lane: Option<LaneId>,
    /// The progress of its job.
    pub progress: Option<Progress>,
    /// Its last training loss: of the running job, or of the last finished one.
    pub loss: Option<f64>,
    /// The time of its last report.
    pub last_seen: Instant,
}

/// All clients' entries.
#[derive(Debug, Default)]
pub struct Board {
    entries: DashMap<ClientId, ClientStatus>,
}

impl Board {
    /// Changes a client's entry (made when there is none) and marks it as seen now.
    pub fn update(&self, client: ClientId, change: impl FnOnce(&mut ClientStatus)) {
        let mut entry = self.entries.entry(client).or_insert_with(|| ClientStatus {
            state: ClientState::Idle,
            round: 0,
            lane: None,
            progress: None,
            loss: None,
            last_seen: Instant::now(),
        });
        change(&mut entry);
        entry.last_seen = Instant::now();
    }

    /// One client's entry, copied.
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<ClientStatus> {
        self.entries.get(&client).map(|entry| *entry)
    }

    /// All entries, copied, in client order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(ClientId, ClientStatus)> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (*entry.key(), *entry.value()))
            .collect();
        all.sort_unstable_by_key(|(client, _)| *client);
        all
    }
}
