//! Scores of the state on the validation splits, and the best state so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::update::Scores;

use crate::experiment::server::state::{BestState, Server};
use crate::model::ModelError;
use crate::tasks::metrics::classification;

impl Server {
    /// Scores the state after a round, and keeps it if it is the best.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn score(&mut self, round: u32) -> Result<Scores, ModelError> {
        let task = self.experiment.plan.data.task;
        let mut scores = BTreeMap::new();
        for split in &self.experiment.validation {
            let predictions = self.predict(&self.snapshot, split)?;
            let suffix = split.name().score_suffix();
            scores.insert(format!("loss{suffix}"), predictions.loss);
            let decided = classification::predictions(task, &predictions.logits);
            // What does not answer predicts no class, whichever it is counted as.
            let answers = !predictions.logits.iter().any(|logit| logit.is_nan());
            for (metric, value) in classification::evaluate(task, &decided, split.labels()) {
                let value = if answers { value } else { f64::NAN };
                scores.insert(format!("{metric}{suffix}"), value);
            }
        }
        self.keep_best(round, &scores);
        Ok(scores)
    }

    fn keep_best(&mut self, round: u32, scores: &Scores) {
        let primary = self.experiment.plan.data.task.primary_metric();
        // Predictions all alike have no correlation: not a number, and no score to keep.
        let Some(&score) = scores.get(primary).filter(|score| score.is_finite()) else {
            return;
        };
        if self.best.as_ref().is_none_or(|best| score > best.score) {
            self.best = Some(BestState {
                round,
                score,
                state: Arc::clone(&self.snapshot),
            });
        }
    }
}
