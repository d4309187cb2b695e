//! The record of a round: one [`RoundRecord`], written as one line of `rounds.jsonl`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ClientId, Digest};
use crate::protocol::json::{self, is_zero};
use crate::workload::update::{Measures, Refusal, Scores};

/// One finished round.
///
/// A loss that is not a number is written as `null`, as one that is not there; which it was follows
/// from what else is written, so it is read back as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RoundRecord {
    /// From 1.
    pub round: u32,
    /// Mean of the clients' training losses, weighted by examples, without losses that are not
    /// numbers; NaN if none is a number, `None` if no client trained.
    pub train_loss: Option<f64>,
    /// Scores on validation, in rounds that were evaluated.
    #[serde(default, deserialize_with = "json::maybe_scores")]
    pub eval: Option<Scores>,
    /// See [`crate::workload::update::Aggregation::exactness_error`].
    pub exactness_error: Option<f64>,
    /// See [`crate::workload::update::Aggregation::measures`]; records of earlier versions have none.
    #[serde(default, skip_serializing_if = "Measures::is_empty")]
    pub measures: Measures,
    /// Virtual time at the round's end, in seconds since the run's start.
    pub virtual_seconds: f64,
    /// Wall time by phase.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: PhaseSeconds,
    /// Digest of the global state after the round.
    pub state_digest: Digest,
    /// Updates that the server refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// Each client whose part ended in this round, in client order: those selected, those whose
    /// late update from an earlier round was carried over, and, where aggregation is asynchronous,
    /// whose update was aggregated.
    pub clients: Vec<ClientRecord>,
}

impl Serialize for RoundRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for RoundRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut record = Self::deserialize(deserializer)?;
        let trained = |client: &ClientRecord| client.examples > 0 && client.outcome.has_arrived();
        if record.clients.iter().any(trained) {
            record.train_loss.get_or_insert(f64::NAN);
        }
        Ok(record)
    }
}

impl RoundRecord {
    /// The name of a client that took part; its number, if it did not.
    #[must_use]
    pub fn name(&self, client: ClientId) -> String {
        let part = self.clients.iter().find(|part| part.client == client);
        part.map_or_else(|| client.to_string(), |part| part.name.clone())
    }

    /// Clients whose update was aggregated.
    #[must_use]
    pub fn aggregated(&self) -> usize {
        let clients = self.clients.iter();
        clients.filter(|c| c.outcome == Outcome::Aggregated).count()
    }

    /// Whether updates came and every one of them was refused.
    #[must_use]
    pub fn all_refused(&self) -> bool {
        self.aggregated() == 0 && self.clients.iter().any(|c| c.outcome == Outcome::Refused)
    }

    /// Sets all that was measured in wall time to 0; it is then left out in JSON.
    pub fn forget_wall_time(&mut self) {
        self.seconds = PhaseSeconds::default();
        self.clients.iter_mut().for_each(|c| c.seconds = 0.0);
    }
}

/// Wall seconds of a round by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// From the broadcast to the last update.
    pub train: f64,
    /// Aggregation.
    pub aggregate: f64,
    /// Evaluation; 0 in rounds without one.
    pub evaluate: f64,
}

/// One client's part in a round. Its loss is written and read as a round's is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct ClientRecord {
    /// The client concerned.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// The way it ended.
    pub outcome: Outcome,
    /// Mean training loss over its examples, when it trained to the end; NaN if it diverged.
    pub loss: Option<f64>,
    /// Examples seen.
    pub examples: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Bytes it sent.
    pub bytes_up: u64,
    /// Bytes it was sent.
    pub bytes_down: u64,
    /// Wall seconds its job took on its lane.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
}

impl Serialize for ClientRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ClientRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut record = Self::deserialize(deserializer)?;
        // A client that sent an update, wherever it went, reported a loss with it.
        if record.outcome.has_arrived() || record.bytes_up > 0 {
            record.loss.get_or_insert(f64::NAN);
        }
        Ok(record)
    }
}

/// The outcome of a client's round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its update was aggregated.
    #[serde(alias = "folded")]
    Aggregated,
    /// Its update came and was refused: by the server's checks, or with a round that was skipped.
    Refused,
    /// It dropped out, at the start or during the round.
    Dropped,
    /// Its update came after the round was closed.
    Late,
    /// Its update was lost on the way.
    Lost,
    /// Its job failed, or the client crashed.
    Failed,
}

impl Outcome {
    /// Whether its update came to the server in time.
    fn has_arrived(self) -> bool {
        matches!(self, Self::Aggregated | Self::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(outcome: Outcome, loss: Option<f64>) -> ClientRecord {
        let trained = loss.is_some();
        ClientRecord {
            client: ClientId(0),
            name: "a".into(),
            outcome,
            loss,
            examples: 8,
            steps: 1,
            bytes_up: if trained { 10 } else { 0 },
            bytes_down: 20,
            seconds: 0.0,
        }
    }

    fn round(train_loss: Option<f64>, clients: Vec<ClientRecord>) -> RoundRecord {
        RoundRecord {
            round: 1,
            train_loss,
            eval: None,
            exactness_error: None,
            measures: Measures::new(),
            virtual_seconds: 1.0,
            seconds: PhaseSeconds::default(),
            state_digest: Digest::of(b""),
            refused: Vec::new(),
            clients,
        }
    }

    #[test]
    fn losses_that_are_not_numbers_are_read_back_and_missing_ones_stay_missing() {
        use Outcome::{Aggregated, Dropped, Late, Lost, Refused};
        let cases = [
            (Aggregated, Some(0.5)),
            (Aggregated, Some(f64::NAN)),
            (Refused, Some(f64::NAN)),
            (Lost, Some(f64::NAN)),
            (Late, Some(f64::NAN)),
            (Late, None),
            (Dropped, None),
        ];
        for (outcome, loss) in cases {
            let trained = matches!(outcome, Aggregated | Refused);
            let train_loss = loss.filter(|_| trained);
            let written = round(train_loss, vec![client(outcome, loss)]);
            let json = serde_json::to_string(&written).unwrap();
            assert!(!json.contains("NaN"), "{json}");
            let read: RoundRecord = serde_json::from_str(&json).unwrap();
            let same = |a: Option<f64>, b: Option<f64>| a.map(f64::to_bits) == b.map(f64::to_bits);
            assert!(same(read.clients[0].loss, loss), "{outcome:?} {loss:?}");
            assert!(same(read.train_loss, train_loss), "{outcome:?} {loss:?}");
            let bytes = rmp_serde::to_vec_named(&written).unwrap();
            let read: RoundRecord = rmp_serde::from_slice(&bytes).unwrap();
            assert!(same(read.train_loss, train_loss), "{outcome:?} {loss:?}");
        }
    }

    #[test]
    fn a_round_is_refused_whole_only_if_something_came_and_nothing_was_folded() {
        use Outcome::{Aggregated, Dropped, Refused};
        let all_refused = |outcomes: &[Outcome]| {
            let clients = outcomes.iter().map(|outcome| client(*outcome, None));
            round(None, clients.collect()).all_refused()
        };
        assert!(all_refused(&[Refused, Dropped]));
        assert!(!all_refused(&[Refused, Aggregated]));
        assert!(!all_refused(&[Dropped]));
        assert!(!all_refused(&[]));
    }
}
