//! Whom to ask: among those who are there, by the plan's sampling.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Scheduler;
use crate::clock::VirtualTime;
use crate::ids::ClientId;
use crate::plan::policy::RoundPolicy;
use crate::plan::sampling::{SampleBy, Utility};
use crate::random::StreamKey;

/// What is known of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ClientEntry {
    /// The round whose starting state it holds.
    #[serde(alias = "holds")]
    pub held_version: Option<u32>,
    /// It cannot be asked before this.
    pub away_until: VirtualTime,
    /// It cannot be asked before this round.
    pub away_until_round: u32,
    /// Its failures that still count.
    pub failures: Vec<VirtualTime>,
    /// It failed too often.
    pub retired: bool,
    /// Somebody took it out.
    #[serde(alias = "barred")]
    pub excluded: bool,
    /// Somebody made it slower by this factor.
    pub slow: f64,
    /// The round and attempt in which it was asked last.
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

impl Scheduler {
    /// Clients to ask at the beginning of an attempt.
    pub(super) fn wanted(&self) -> usize {
        let wanted = self.plan.sampling.wanted(self.plan.clients.len());
        match self.plan.policy {
            RoundPolicy::OverSelect { factor, .. } => (wanted as f64 * factor).ceil() as usize,
            _ => wanted,
        }
    }

    /// Updates that close a round before all of them are in.
    pub(super) fn target(&self) -> usize {
        match self.plan.policy {
            RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } => {
                updates as usize
            }
            RoundPolicy::OverSelect { .. } => self.plan.sampling.wanted(self.plan.clients.len()),
            _ => usize::MAX,
        }
    }

    /// At most `count` clients that can be asked now, in client order.
    pub(super) fn select(&mut self, count: usize) -> Vec<ClientId> {
        let mut candidates = self.candidates();
        if candidates.len() > count {
            candidates = self.sample(candidates, count);
            candidates.sort_unstable();
        }
        candidates
    }

    fn candidates(&mut self) -> Vec<ClientId> {
        let now = self.state.clock.now();
        let free = self.ids().filter(|&client| self.is_free(client));
        let free: Vec<_> = free.collect();
        let there = |client: &ClientId| self.there_from(*client).is_some_and(|from| from <= now);
        free.into_iter().filter(there).collect()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ClientId> + use<> {
        (0..self.plan.clients.len() as u32).map(ClientId)
    }

    /// Whether a client could take part in this round, were it there.
    fn is_free(&self, client: ClientId) -> bool {
        let entry = &self.state.clients[client.0 as usize];
        let selected = entry.selected_in == (self.round.number, self.round.attempt);
        !(entry.retired
            || entry.excluded
            || entry.away_until_round > self.round.number
            || selected
            || self.state.in_flight.contains_key(&client)
            || self.round.has(client))
    }

    /// When a client is there: now, or later, if ever.
    fn there_from(&mut self, client: ClientId) -> Option<VirtualTime> {
        let entry = &self.state.clients[client.0 as usize];
        let at = self.state.clock.now().max(entry.away_until);
        let window = self.timelines[client.0 as usize].window(at)?;
        Some(window.from.max(at))
    }

    /// When the next client is there that could take part in this round.
    pub(super) fn next_there(&mut self) -> Option<VirtualTime> {
        let free = self.ids().filter(|&client| self.is_free(client));
        let free: Vec<_> = free.collect();
        let there = free.into_iter().filter_map(|c| self.there_from(c));
        there.min()
    }

    /// Whether anybody could take part in this or a later round.
    pub(super) fn anybody_left(&mut self) -> bool {
        let out = |entry: &ClientEntry| entry.retired || entry.excluded;
        let ids = self.ids();
        let left = ids.filter(|c| !out(&self.state.clients[c.0 as usize]));
        let left: Vec<_> = left.collect();
        left.into_iter().any(|c| self.there_from(c).is_some())
    }

    fn sample(&self, candidates: Vec<ClientId>, count: usize) -> Vec<ClientId> {
        match self.plan.sampling.by {
            SampleBy::Uniform => self.draw(candidates, count, |_| 1.0),
            SampleBy::Examples => self.draw(candidates, count, |client| {
                self.plan.clients[client.0 as usize].examples as f64
            }),
            SampleBy::Utility(utility) => self.draw_by_utility(candidates, count, utility),
        }
    }

    /// Exploits the clients that are known, and explores some of the others.
    fn draw_by_utility(
        &self,
        candidates: Vec<ClientId>,
        count: usize,
        utility: Utility,
    ) -> Vec<ClientId> {
        let last = |client: &ClientId| self.state.clients[client.0 as usize].last.is_some();
        let (known, unknown): (Vec<_>, Vec<_>) = candidates.into_iter().partition(last);
        let explore = (utility.exploration * count as f64).ceil() as usize;
        let explore = explore.max(count.saturating_sub(known.len()));
        let explore = explore.min(unknown.len());
        let mut drawn = self.draw(unknown, explore, |_| 1.0);
        drawn.extend(self.draw(known, count - explore, |client| {
            self.utility(client, utility)
        }));
        drawn
    }

    /// See [`Utility`].
    fn utility(&self, client: ClientId, utility: Utility) -> f64 {
        let Some(last) = self.state.clients[client.0 as usize].last else {
            return 0.0;
        };
        let statistical = last.loss * last.examples as f64;
        let unsure = (0.1 * f64::from(self.round.number).ln() / f64::from(last.round)).sqrt();
        let system = utility.preferred_seconds.map_or(1.0, |preferred| {
            (preferred / last.seconds).min(1.0).powf(utility.penalty)
        });
        let value = (statistical + unsure) * system;
        if value.is_finite() { value } else { 0.0 }
    }

    /// Draws `count` clients without replacement, in proportion to their weights: those with the
    /// largest `u^(1/weight)`, u uniform from each client's own stream (Efraimidis and Spirakis,
    /// 2006), so that no client's draw depends on who else is there.
    fn draw(
        &self,
        candidates: Vec<ClientId>,
        count: usize,
        weight: impl Fn(ClientId) -> f64,
    ) -> Vec<ClientId> {
        let mut keyed: Vec<_> = candidates
            .into_iter()
            .map(|client| (self.lot(client).ln() / weight(client), client))
            .collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        keyed.truncate(count);
        keyed.into_iter().map(|(_, client)| client).collect()
    }

    /// A number between 0 and 1, drawn by this client for this attempt.
    fn lot(&self, client: ClientId) -> f64 {
        let key = StreamKey {
            seed: self.plan.seed,
            purpose: "sampling",
            name: &self.plan.clients[client.0 as usize].name,
            round: self.round.number,
            attempt: self.round.attempt,
        };
        key.stream().random()
    }
}
