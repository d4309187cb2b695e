//! `summary.json`: how a run ended and what came out.

use std::collections::BTreeMap;

use regatta_actors::learner::{Digest, Scores};
use regatta_actors::record::{Outcome, RoundRecord};
use regatta_actors::run::Ending;
use serde::{Deserialize, Serialize};

use crate::config::Plan;

/// What a run is of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The run's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The GLUE task.
    pub task: String,
    /// The pretrained model.
    pub model: String,
    /// The adapter.
    pub adapter: String,
    /// The aggregation method.
    pub method: String,
    /// The seed.
    pub seed: u64,
}

impl Identity {
    /// What a plan's run is of, with this program.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            task: plan.data.task.to_string(),
            model: plan.model.source.to_string(),
            adapter: plan.adapter.kind.title().to_owned(),
            method: plan.aggregation.method.to_string(),
            seed: plan.seed,
        }
    }
}

/// A run in brief.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was run.
    #[serde(flatten)]
    pub identity: Identity,
    /// Rounds planned.
    pub rounds_planned: u32,
    /// How it ended; `None` with an error.
    pub ending: Option<Ending>,
    /// What ended it before its time.
    pub error: Option<String>,
    /// What the rounds gave.
    #[serde(flatten)]
    pub tally: Tally,
    /// Wall seconds from start to end.
    pub seconds: f64,
}

impl Summary {
    /// A summary of a run that has just ended.
    #[must_use]
    pub fn new(
        plan: &Plan,
        tally: Tally,
        ending: Option<Ending>,
        error: Option<String>,
        seconds: f64,
    ) -> Self {
        Self {
            identity: Identity::of(plan),
            rounds_planned: plan.rounds,
            ending,
            error,
            tally,
            seconds,
        }
    }
}

/// What the rounds gave so far, of a size that does not grow with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Rounds finished.
    pub rounds: u32,
    /// Training loss of the last round.
    pub train_loss: Option<f64>,
    /// The last scores on validation.
    pub eval: Option<Scores>,
    /// The best value of each score, and the round it was reached in.
    pub best: BTreeMap<String, Best>,
    /// Exactness error of the last round that folded anything.
    pub exactness_error: Option<f64>,
    /// The largest of all rounds.
    pub worst_exactness_error: Option<f64>,
    /// Digest of the final state.
    pub state_digest: Option<Digest>,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
    /// Bytes from the server to clients.
    pub bytes_down: u64,
    /// Clients' rounds by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Virtual time at the last round's end.
    pub virtual_seconds: f64,
}

/// A score's best value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The value.
    pub value: f64,
    /// The first round that reached it.
    pub round: u32,
}

impl Tally {
    /// Takes a finished round in.
    pub fn add(&mut self, record: &RoundRecord) {
        self.rounds += 1;
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
            self.score(record.round, scores);
            self.eval = Some(scores.clone());
        }
    }

    /// Takes the scores of a round in.
    pub(super) fn score(&mut self, round: u32, scores: &Scores) {
        for (name, &value) in scores {
            let best = self
                .best
                .entry(name.clone())
                .or_insert(Best { value, round });
            let better = if name == "loss" {
                value < best.value
            } else {
                value > best.value
            };
            if better {
                *best = Best { value, round };
            }
        }
    }
}
