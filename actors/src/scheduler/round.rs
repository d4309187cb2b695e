//! One round while it goes on: who was asked, what came back.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::VirtualTime;
use crate::learner::{Aggregation, ClientId, Digest, Scores};
use crate::message::{Receipt, Stamp, Take};
use crate::plan::FederationPlan;
use crate::record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};

/// A round's books.
#[derive(Debug)]
pub(super) struct Round {
    /// From 1; 0 before the first.
    pub number: u32,
    /// Wall time when the current phase began.
    pub began: f64,
    pub seconds: PhaseSeconds,
    pub scores: Option<Scores>,
    pub aggregation: Aggregation,
    parts: BTreeMap<ClientId, Part>,
    /// Parts whose update has not arrived.
    outstanding: usize,
}

/// One client's part.
#[derive(Debug)]
struct Part {
    stamp: Stamp,
    bytes_down: u64,
    /// The facts of its update, once it lies in its slot.
    receipt: Option<Receipt>,
    /// Whether the update has arrived in virtual time.
    arrived: bool,
}

impl Round {
    pub fn new(number: u32, began: f64) -> Self {
        Self {
            number,
            began,
            seconds: PhaseSeconds::default(),
            scores: None,
            parts: BTreeMap::new(),
            outstanding: 0,
            aggregation: Aggregation {
                exactness_error: None,
                state_digest: Digest(String::new()),
                refused: Vec::new(),
            },
        }
    }

    /// Counts a client in.
    pub fn ask(&mut self, stamp: Stamp, bytes_down: u64) {
        let part = Part {
            stamp,
            bytes_down,
            receipt: None,
            arrived: false,
        };
        self.parts.insert(stamp.client, part);
        self.outstanding += 1;
    }

    /// Whether this very job was asked for and has not ended.
    pub fn awaits(&self, stamp: Stamp) -> bool {
        self.parts
            .get(&stamp.client)
            .is_some_and(|part| part.stamp == stamp && part.receipt.is_none())
    }

    /// Notes that an update lies in its slot.
    pub fn receive(&mut self, stamp: Stamp, receipt: Receipt) {
        if let Some(part) = self.parts.get_mut(&stamp.client) {
            part.receipt = Some(receipt);
        }
    }

    /// The facts of a client's update, once it lies in its slot.
    pub fn receipt(&self, client: ClientId) -> Option<&Receipt> {
        self.parts.get(&client)?.receipt.as_ref()
    }

    /// Notes that an update arrived; says whether it was the last one outstanding.
    pub fn arrive(&mut self, client: ClientId) -> bool {
        if let Some(part) = self.parts.get_mut(&client)
            && !part.arrived
        {
            part.arrived = true;
            self.outstanding -= 1;
        }
        self.outstanding == 0
    }

    /// The updates that arrived, in client order.
    pub fn arrived(&self) -> Vec<Take> {
        let arrived = self.parts.values().filter(|part| part.arrived);
        arrived
            .map(|part| Take {
                stamp: part.stamp,
                weight: 1.0,
            })
            .collect()
    }

    /// The finished round.
    pub fn record(&self, plan: &FederationPlan, now: VirtualTime) -> RoundRecord {
        let aggregation = self.aggregation.clone();
        let refused: BTreeSet<_> = aggregation.refused.iter().map(|r| r.client).collect();
        let clients = self.parts.iter().map(|(client, part)| {
            let outcome = if refused.contains(client) {
                Outcome::Refused
            } else {
                Outcome::Folded
            };
            part.record(plan, outcome)
        });
        RoundRecord {
            round: self.number,
            train_loss: self.train_loss(),
            clients: clients.collect(),
            eval: self.scores.clone(),
            exactness_error: aggregation.exactness_error,
            virtual_seconds: now.seconds(),
            seconds: self.seconds,
            state_digest: aggregation.state_digest,
            refused: aggregation.refused,
        }
    }

    /// Mean of the clients' losses, weighted by examples, summed in client order.
    fn train_loss(&self) -> Option<f64> {
        let receipts = || self.parts.values().filter_map(|part| part.receipt.as_ref());
        let examples: u64 = receipts().map(|r| r.examples).sum();
        let total: f64 = receipts().map(|r| r.loss * r.examples as f64).sum();
        (examples > 0).then(|| total / examples as f64)
    }
}

impl Part {
    fn record(&self, plan: &FederationPlan, outcome: Outcome) -> ClientRecord {
        let client = self.stamp.client;
        let receipt = self.receipt.as_ref();
        ClientRecord {
            client,
            name: plan.clients[client.0 as usize].name.clone(),
            outcome,
            loss: receipt.map(|r| r.loss),
            examples: receipt.map_or(0, |r| r.examples),
            steps: receipt.map_or(0, |r| r.steps),
            bytes_up: receipt.map_or(0, |r| r.bytes_up),
            bytes_down: self.bytes_down,
            seconds: receipt.map_or(0.0, |r| r.seconds),
        }
    }
}
