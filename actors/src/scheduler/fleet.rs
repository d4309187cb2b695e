//! The clients, and which of them to select: among those available, by the plan's sampling.

use std::collections::BTreeSet;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::ids::ClientId;
use crate::plan::FederationPlan;
use crate::plan::sampling::{SampleBy, Utility};
use crate::random::StreamKey;
use crate::scheduler::environment::Environment;
use crate::scheduler::in_flight::InFlight;
use crate::scheduler::round::Round;

/// What is known of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ClientEntry {
    /// The round whose starting state it holds.
    #[serde(alias = "holds")]
    pub held_version: Option<u32>,
    /// It cannot be selected before this.
    pub away_until: VirtualTime,
    /// It cannot be selected before this round.
    pub away_until_round: u32,
    /// When it failed, as far as that still counts.
    pub failures: Vec<VirtualTime>,
    /// It failed too often.
    pub retired: bool,
    /// A command from outside excluded it.
    #[serde(alias = "barred")]
    pub excluded: bool,
    /// How many times as long its training takes, by a command from outside.
    pub slow: f64,
    /// The round and attempt in which it was last selected.
    #[serde(alias = "asked")]
    pub selected_in: (u32, u32),
    /// What it did when an update of it last arrived.
    #[serde(alias = "tried")]
    pub last: Option<LastParticipation>,
}

/// A client's last contribution, from which its utility is judged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct LastParticipation {
    pub round: u32,
    pub loss: f64,
    pub examples: u64,
    /// Virtual seconds from the request to the update.
    pub seconds: f64,
}

impl Default for ClientEntry {
    fn default() -> Self {
        Self {
            held_version: None,
            away_until: VirtualTime::default(),
            away_until_round: 0,
            failures: Vec::new(),
            retired: false,
            excluded: false,
            slow: 1.0,
            selected_in: (0, 0),
            last: None,
        }
    }
}

/// The clients of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fleet {
    /// By client.
    clients: Vec<ClientEntry>,
}

impl Fleet {
    /// A fleet of this size, before the first round.
    pub fn new(clients: usize) -> Self {
        Self {
            clients: vec![ClientEntry::default(); clients],
        }
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// What is known of a client.
    pub fn client(&self, client: ClientId) -> &ClientEntry {
        &self.clients[client.0 as usize]
    }

    /// As [`Fleet::client`], to be changed.
    pub fn client_mut(&mut self, client: ClientId) -> &mut ClientEntry {
        &mut self.clients[client.0 as usize]
    }

    /// The rounds whose starting states the clients hold, without those of retired clients.
    pub fn held_versions(&self) -> BTreeSet<Option<u32>> {
        let clients = self.clients.iter().filter(|entry| !entry.retired);
        clients.map(|entry| entry.held_version).collect()
    }

    /// At most `count` clients that can be selected now, in client order.
    pub fn select(
        &self,
        plan: &FederationPlan,
        round: &Round,
        in_flight: &InFlight,
        environment: &mut Environment,
        count: usize,
    ) -> Vec<ClientId> {
        let now = in_flight.now();
        let mut candidates = self.free(round, in_flight);
        candidates.retain(|&client| {
            let from = self.available_from(client, now, environment);
            from.is_some_and(|from| from <= now)
        });
        if candidates.len() > count {
            candidates = self.sample(plan, round, candidates, count);
            candidates.sort_unstable();
        }
        candidates
    }

    /// When the next client is available that could take part in this round.
    pub fn next_available(
        &self,
        round: &Round,
        in_flight: &InFlight,
        environment: &mut Environment,
    ) -> Option<VirtualTime> {
        let now = in_flight.now();
        let free = self.free(round, in_flight).into_iter();
        let from = free.filter_map(|client| self.available_from(client, now, environment));
        from.min()
    }

    /// Whether any client could take part in this or a later round.
    pub fn has_any_left(&self, now: VirtualTime, environment: &mut Environment) -> bool {
        self.ids().any(|client| {
            let entry = self.client(client);
            let is_out = entry.retired || entry.excluded;
            !is_out && self.available_from(client, now, environment).is_some()
        })
    }

    fn ids(&self) -> impl Iterator<Item = ClientId> + use<> {
        (0..self.clients.len() as u32).map(ClientId)
    }

    /// The clients that could take part in this round if they were available, in client order.
    fn free(&self, round: &Round, in_flight: &InFlight) -> Vec<ClientId> {
        let is_free = |&client: &ClientId| {
            let entry = self.client(client);
            !(entry.retired
                || entry.excluded
                || entry.away_until_round > round.number
                || entry.selected_in == (round.number, round.attempt)
                || in_flight.jobs.contains_key(&client)
                || round.has(client))
        };
        self.ids().filter(is_free).collect()
    }

    /// When a client is available: now, or later, if ever.
    fn available_from(
        &self,
        client: ClientId,
        now: VirtualTime,
        environment: &mut Environment,
    ) -> Option<VirtualTime> {
        let at = now.max(self.client(client).away_until);
        let window = environment.window(client, at)?;
        Some(window.from.max(at))
    }

    fn sample(
        &self,
        plan: &FederationPlan,
        round: &Round,
        candidates: Vec<ClientId>,
        count: usize,
    ) -> Vec<ClientId> {
        match plan.sampling.by {
            SampleBy::Uniform => draw(plan, round, candidates, count, |_| 1.0),
            SampleBy::Examples => draw(plan, round, candidates, count, |client| {
                plan.clients[client.0 as usize].examples as f64
            }),
            SampleBy::Utility(utility) => {
                self.draw_by_utility(plan, round, candidates, count, utility)
            }
        }
    }

    /// Exploits the clients that are known, and explores some of the others.
    fn draw_by_utility(
        &self,
        plan: &FederationPlan,
        round: &Round,
        candidates: Vec<ClientId>,
        count: usize,
        utility: Utility,
    ) -> Vec<ClientId> {
        let is_known = |client: &ClientId| self.client(*client).last.is_some();
        let (known, unknown): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_known);
        let explore = (utility.exploration * count as f64).ceil() as usize;
        let explore = explore.max(count.saturating_sub(known.len()));
        let explore = explore.min(unknown.len());
        let mut drawn = draw(plan, round, unknown, explore, |_| 1.0);
        drawn.extend(draw(plan, round, known, count - explore, |client| {
            self.client(client).utility(utility, round.number)
        }));
        drawn
    }
}

impl ClientEntry {
    /// Its utility in this round; see [`Utility`].
    fn utility(&self, utility: Utility, round: u32) -> f64 {
        let Some(last) = self.last else {
            return 0.0;
        };
        let statistical = last.loss * last.examples as f64;
        let unsure = (0.1 * f64::from(round).ln() / f64::from(last.round)).sqrt();
        let system = utility.preferred_seconds.map_or(1.0, |preferred| {
            (preferred / last.seconds).min(1.0).powf(utility.penalty)
        });
        let value = (statistical + unsure) * system;
        if value.is_finite() { value } else { 0.0 }
    }
}

/// Draws `count` clients without replacement, in proportion to their weights: those with the
/// largest `u^(1/weight)`, u uniform from each client's own stream (Efraimidis and Spirakis,
/// 2006), so that no client's draw depends on which others are available.
fn draw(
    plan: &FederationPlan,
    round: &Round,
    candidates: Vec<ClientId>,
    count: usize,
    weight: impl Fn(ClientId) -> f64,
) -> Vec<ClientId> {
    let mut keyed: Vec<_> = candidates
        .into_iter()
        .map(|client| (lot(plan, round, client).ln() / weight(client), client))
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    keyed.truncate(count);
    keyed.into_iter().map(|(_, client)| client).collect()
}

/// A number between 0 and 1, drawn by this client for this attempt.
fn lot(plan: &FederationPlan, round: &Round, client: ClientId) -> f64 {
    let key = StreamKey {
        seed: plan.seed,
        purpose: "sampling",
        name: &plan.clients[client.0 as usize].name,
        round: round.number,
        attempt: round.attempt,
    };
    key.stream().random()
}
