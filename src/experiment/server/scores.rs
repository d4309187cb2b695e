//! Scores of the state on the validation splits, and the best state so far.

use std::sync::Arc;

use regatta_actors::workload::update::Scores;

use crate::experiment::payload::Snapshot;
use crate::experiment::prompts::PromptSet;
use crate::experiment::server::results::ResultsError;
use crate::experiment::server::state::{BestState, Server};
use crate::runs::folder::artifact::Artifact;
use crate::runs::generated::GeneratedTexts;
use crate::tasks::metrics::set::base_of;
use crate::tasks::texts::{self, GenerationPlan};
use crate::tasks::{Outputs, SharedTask};

impl Server {
    /// Scores the state after a round, and keeps it if it is the best. Scores of texts, and of the
    /// loss of tokens, have those of the model before training beside them.
    ///
    /// # Errors
    /// If the device fails, or texts cannot be kept.
    pub(crate) fn score(&mut self, round: u32) -> Result<Scores, ResultsError> {
        let snapshot = Arc::clone(&self.snapshot);
        let mut scores = self.losses(&snapshot)?;
        let experiment = Arc::clone(&self.experiment);
        if let Some(plan) = &experiment.plan.generation {
            if self.base_scores.losses.is_none() {
                self.base_scores.losses = Some(self.losses(&self.untrained())?);
            }
            let held_out = experiment.prompts.iter().filter(|set| !set.split.is_test());
            let mut base = self.base_scores.losses.clone().unwrap_or_default();
            for set in held_out {
                let last = experiment.plan.rounds;
                let Some(first) = plan.prompts_after(round, last, set.prompts.len()) else {
                    continue;
                };
                scores.extend(self.text_scores(&snapshot, round, plan, set, first)?);
                base.extend(self.base_text_scores(plan, set, first)?);
            }
            let named = base
                .into_iter()
                .map(|(name, value)| (base_of(&name), value));
            scores.extend(named);
        }
        self.keep_best(round, &scores);
        Ok(scores)
    }

    /// The scores of the model at a snapshot that need no text.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn losses(&self, snapshot: &Snapshot) -> Result<Scores, ResultsError> {
        let task: &SharedTask = &self.experiment.plan.data.task;
        let mut scores = Scores::new();
        for split in &self.experiment.validation {
            let predictions = self.predict(snapshot, split, &|_| {})?;
            let suffix = split.name().score_suffix();
            scores.insert(format!("loss{suffix}"), predictions.loss);
            let own = match task.outputs() {
                Outputs::Labels(labels) => labels.score(&predictions.logits, split.labels()),
                Outputs::Texts(_) => [("perplexity".to_owned(), predictions.loss.exp())].into(),
            };
            for (metric, value) in own {
                scores.insert(format!("{metric}{suffix}"), value);
            }
        }
        Ok(scores)
    }

    /// The model before training.
    fn untrained(&self) -> Snapshot {
        Snapshot::of(&self.experiment.initial, 0)
    }

    /// Writes texts, keeps them in the run's folder, and scores them.
    fn text_scores(
        &self,
        snapshot: &Snapshot,
        round: u32,
        plan: &GenerationPlan,
        set: &PromptSet,
        first: usize,
    ) -> Result<Scores, ResultsError> {
        let prompts = &set.prompts[..first.min(set.prompts.len())];
        let written = self.write_texts(snapshot, plan, prompts, &|_| {})?;
        let task = &self.experiment.plan.data.task;
        let meteor = plan.meteor();
        let scores = task
            .texts()
            .map(|texts| texts.score(&written, meteor.as_ref()));
        let scores = scores.unwrap_or_default();
        self.folder.check()?;
        let kept = GeneratedTexts {
            round,
            split: set.split,
            scores: scores.clone(),
            texts: written,
        };
        kept.write(&self.folder)?;
        if round == self.experiment.plan.rounds {
            let folder = self.folder.path_of(Artifact::Predictions);
            texts::write(&kept.texts, task.name(), set.split, &folder)?;
        }
        Ok(scores)
    }

    /// Scores of texts that the model writes before training, for as many prompts.
    fn base_text_scores(
        &mut self,
        plan: &GenerationPlan,
        set: &PromptSet,
        first: usize,
    ) -> Result<Scores, ResultsError> {
        if let Some((prompts, scores)) = &self.base_scores.texts
            && *prompts == first
        {
            return Ok(scores.clone());
        }
        let scores = self.text_scores(&self.untrained(), 0, plan, set, first)?;
        self.base_scores.texts = Some((first, scores.clone()));
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
