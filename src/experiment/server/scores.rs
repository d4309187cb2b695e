//! Scores of the state on the validation splits, and the best state so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::update::Scores;

use crate::experiment::server::state::{BestState, Server};
use crate::model::ModelError;

impl Server {
    /// Scores the state after a round, and keeps it if it is the best.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn score(&mut self, round: u32) -> Result<Scores, ModelError> {
        let task = &self.experiment.plan.data.task;
        let mut scores = BTreeMap::new();
        for split in &self.experiment.validation {
            let predictions = self.predict(&self.snapshot, split)?;
            let suffix = split.name().score_suffix();
            scores.insert(format!("loss{suffix}"), predictions.loss);
            for (metric, value) in task.score(&predictions.logits, split.labels()) {
                scores.insert(format!("{metric}{suffix}"), value);
            }
        }
        self.keep_best(round, &scores);
        Ok(scores)
    }

    fn keep_best(&mut self, round: u32, scores: &Scores) {
        let primary = self.experiment.plan.data.task.primary_metric();
        // Predictions all alike have no correlation: not a number, and no score to keep.
        let Some(&score) = scores.get(primary.name).filter(|score| score.is_finite()) else {
            return;
        };
        let better = |best: &BestState| primary.is_better(score, best.score);
        if self.best.as_ref().is_none_or(better) {
            self.best = Some(BestState {
                round,
                score,
                state: Arc::clone(&self.snapshot),
            });
        }
    }
}
