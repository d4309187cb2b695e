//! The totals of a run's rounds.

use std::collections::BTreeMap;

use regatta_actors::ids::Digest;
use regatta_actors::protocol::json;
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};
use regatta_actors::workload::update::Scores;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tasks::metrics::set::{MetricSet, base_name};

/// What the rounds gave so far, of a size that does not grow with them.
///
/// A number that is none is written as `null` and read back as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RunTotals {
    /// Rounds finished.
    pub rounds: u32,
    /// Rounds of these in which updates came and every one was refused.
    #[serde(default)]
    pub rounds_refused: u32,
    /// Training loss of the last round in which anybody trained.
    pub train_loss: Option<f64>,
    /// The last scores on validation.
    #[serde(default, deserialize_with = "json::maybe_scores")]
    pub eval: Option<Scores>,
    /// The best value of each score, and the round it was reached in. A score that was never a
    /// finite number has none.
    #[serde(deserialize_with = "finite_bests")]
    pub best: BTreeMap<String, Best>,
    /// Exactness error of the last round that aggregated anything.
    pub exactness_error: Option<f64>,
    /// The largest of all rounds.
    pub worst_exactness_error: Option<f64>,
    /// Digest of the final state.
    pub state_digest: Option<Digest>,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
    /// Bytes from the server to clients.
    pub bytes_down: u64,
    /// Clients' rounds by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Virtual time at the last round's end.
    pub virtual_seconds: f64,
}

/// A score's best value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The value.
    #[serde(deserialize_with = "json::number")]
    pub value: f64,
    /// The first round that reached it.
    pub round: u32,
}

/// Notes the scores of a round where they are better than the best so far. What is not a finite
/// number is not a score that could be the best, nor is a score of the model before training.
pub fn note_best(
    best: &mut BTreeMap<String, Best>,
    round: u32,
    scores: &Scores,
    metrics: &MetricSet,
) {
    let trained = scores.iter().filter(|(name, _)| base_name(name).is_none());
    for (name, &value) in trained.filter(|(_, value)| value.is_finite()) {
        let better = |than: &Best| metrics.is_better(name, value, than.value);
        if best.get(name).is_none_or(better) {
            best.insert(name.clone(), Best { value, round });
        }
    }
}

/// Reads the best values; those that are not numbers, which were once written, are none.
fn finite_bests<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Best>, D::Error> {
    let mut best: BTreeMap<String, Best> = BTreeMap::deserialize(deserializer)?;
    best.retain(|_, best| best.value.is_finite());
    Ok(best)
}

impl Serialize for RunTotals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for RunTotals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut totals = Self::deserialize(deserializer)?;
        // Whose update came had a loss; where none is written, none was a number.
        let came = [Outcome::Aggregated, Outcome::Refused];
        if came
            .iter()
            .any(|outcome| totals.outcomes.contains_key(outcome))
        {
            totals.train_loss.get_or_insert(f64::NAN);
        }
        Ok(totals)
    }
}

impl RunTotals {
    /// Takes a finished round of a task with these metrics in.
    pub fn add(&mut self, record: &RoundRecord, metrics: &MetricSet) {
        self.rounds += 1;
        self.rounds_refused += u32::from(record.all_refused());
        self.train_loss = record.train_loss.or(self.train_loss);
        self.exactness_error = record.exactness_error.or(self.exactness_error);
        let worst = [self.worst_exactness_error, record.exactness_error];
        self.worst_exactness_error = worst.into_iter().flatten().reduce(f64::max);
        self.state_digest = Some(record.state_digest.clone());
        self.virtual_seconds = record.virtual_seconds;
        for client in &record.clients {
            self.bytes_up = self.bytes_up.saturating_add(client.bytes_up);
            self.bytes_down = self.bytes_down.saturating_add(client.bytes_down);
            *self.outcomes.entry(client.outcome).or_default() += 1;
        }
        if let Some(scores) = &record.eval {
            note_best(&mut self.best, record.round, scores, metrics);
            self.eval = Some(scores.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::metrics::info::MetricInfo;

    fn scores(accuracy: f64, loss: f64) -> Scores {
        let names = ["accuracy", "accuracy_mm", "loss", "loss_mm"];
        let values = [accuracy, accuracy, loss, loss];
        names.map(str::to_owned).into_iter().zip(values).collect()
    }

    #[test]
    fn the_best_is_the_best_of_the_finite_ones_and_of_losses_the_least_on_every_split() {
        let nan = f64::NAN;
        let rounds = [
            (nan, nan),
            (0.5, 0.7),
            (f64::INFINITY, f64::NEG_INFINITY),
            (0.8, 0.9),
            (0.8, 0.7),
            (nan, nan),
        ];
        let mut best = BTreeMap::new();
        for (round, (accuracy, loss)) in (1..).zip(rounds) {
            note_best(
                &mut best,
                round,
                &scores(accuracy, loss),
                &MetricSet::default(),
            );
        }
        let of = |name: &str| (best[name].round, best[name].value);
        for suffix in ["", "_mm"] {
            assert_eq!(of(&format!("accuracy{suffix}")), (4, 0.8));
            assert_eq!(of(&format!("loss{suffix}")), (2, 0.7));
        }
    }

    #[test]
    fn of_a_metric_that_is_better_lower_the_best_is_the_least_and_the_base_has_none() {
        const METRICS: MetricSet = MetricSet::of(&[MetricInfo::lower("perplexity")]);
        let mut best = BTreeMap::new();
        for (round, value) in (1..).zip([9.0, 4.0, 6.0]) {
            let names = ["perplexity", "base_perplexity", "base_loss"];
            let scores = names.map(|name| (name.to_owned(), value)).into();
            note_best(&mut best, round, &scores, &METRICS);
        }
        let found: Vec<_> = best.into_iter().collect();
        let least = Best {
            value: 4.0,
            round: 2,
        };
        assert_eq!(found, [("perplexity".to_owned(), least)]);
    }

    #[test]
    fn a_tally_of_what_is_no_number_is_read_back_and_so_is_one_of_an_earlier_version() {
        let mut totals = RunTotals {
            train_loss: Some(f64::NAN),
            eval: Some(scores(0.5, f64::NAN)),
            outcomes: BTreeMap::from([(Outcome::Refused, 2)]),
            ..RunTotals::default()
        };
        note_best(
            &mut totals.best,
            1,
            &scores(0.5, f64::NAN),
            &MetricSet::default(),
        );
        let json = serde_json::to_string(&totals).unwrap();
        let read: RunTotals = serde_json::from_str(&json).unwrap();
        assert!(read.train_loss.is_some_and(f64::is_nan));
        assert!(read.eval.unwrap()["loss"].is_nan());
        assert_eq!(
            read.best.keys().collect::<Vec<_>>(),
            ["accuracy", "accuracy_mm"]
        );

        // One that had NaN among the best, and did not count refused rounds.
        let mut old = serde_json::to_value(&totals).unwrap();
        old["best"]["loss"] = serde_json::json!({"value": null, "round": 1});
        old.as_object_mut().unwrap().remove("rounds_refused");
        let read: RunTotals = serde_json::from_value(old).unwrap();
        assert_eq!((read.best.len(), read.rounds_refused), (2, 0));

        let nothing = serde_json::to_string(&RunTotals::default()).unwrap();
        let read: RunTotals = serde_json::from_str(&nothing).unwrap();
        assert_eq!((read.train_loss, read.eval), (None, None));
    }
}
