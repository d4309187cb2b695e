//! The server's worker: checks, folds and scores, and keeps the best state.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::learner::{
    Aggregation, BoxError, Contribution, Folder, Payload, Refusal, Scores,
};

use super::bases::Bases;
use super::experiment::Experiment;
use super::payload::{ClientUpdate, Snapshot};
use super::results;
use super::saved;
use crate::adapter::Population;
use crate::aggregate::check::check_update;
use crate::aggregate::flora::widen;
use crate::aggregate::stale::{Mixture, StartedUpdate};
use crate::aggregate::traffic::ResidualHistory;
use crate::aggregate::{GlobalState, Round};
use crate::allocator;
use crate::config::Weighting;
use crate::glue::EncodedSplit;
use crate::glue::metrics;
use crate::model::ModelError;
use crate::record::RunFolder;
use crate::tensors::TensorMap;
use crate::torch;
use crate::train::evaluate::{Predictions, predict};
use crate::train::{Compute, Replica, Shared};

/// See the module.
pub struct Server {
    pub(super) experiment: Arc<Experiment>,
    bases: Arc<Bases>,
    pub(super) folder: RunFolder,
    compute: Compute,
    pub(super) state: GlobalState,
    pub(super) snapshot: Arc<Snapshot>,
    /// What clients started from, by the first round that they did so in; for updates that come
    /// rounds later.
    pub(super) starts: BTreeMap<u32, Arc<TensorMap>>,
    pub(super) history: ResidualHistory,
    /// Bytes of what every client downloads each round, residuals aside.
    sent_bytes: u64,
    pub(super) best: Option<Best>,
}

/// The state with the best primary score.
#[derive(Debug, Clone)]
pub(super) struct Best {
    /// The round after which it was scored.
    pub round: u32,
    /// The primary score.
    pub score: f64,
    /// The state.
    pub state: Arc<Snapshot>,
}

impl Server {
    /// A server at the state before the first round.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        experiment: Arc<Experiment>,
        bases: Arc<Bases>,
        folder: RunFolder,
    ) -> Result<Self, ModelError> {
        // The lanes rest while the server works, so it may have all cores. The number must not
        // depend on the lanes: it may decide the last bits of an aggregate.
        torch::use_threads(u32::try_from(torch::cores()).unwrap_or(u32::MAX));
        let compute = experiment.compute(experiment.plan.devices.server.into());
        compute.settle()?;
        let state = experiment.initial.clone();
        let snapshot = Arc::new(Snapshot::of(&state, 0));
        let starts = BTreeMap::from([(1, Arc::clone(&snapshot.trained))]);
        let history = ResidualHistory::default();
        let sent_bytes = state.trained.bytes() - super::start::unsent_bytes(&experiment);
        Ok(Self {
            experiment,
            bases,
            folder,
            compute,
            state,
            snapshot,
            starts,
            history,
            sent_bytes,
            best: None,
        })
    }

    /// The model at a snapshot, ready to predict.
    fn replica(&self, snapshot: &Snapshot) -> Result<Replica, ModelError> {
        let experiment = &self.experiment;
        let device = self.compute.device;
        let base = self.bases.at(snapshot, device)?;
        let (adapter, layers) = (&*experiment.adapter, &experiment.layers);
        let shared = Shared::new(base, &snapshot.trained, adapter, layers, device)?;
        let own = shared.state.clone();
        let (config, labels) = (&experiment.checkpoint.config, experiment.labels);
        Replica::new(&shared, config, labels, layers, own, |_| false)
    }

    /// What the model at a snapshot says of a split.
    pub(super) fn predict(
        &self,
        snapshot: &Snapshot,
        split: &EncodedSplit,
    ) -> Result<Predictions, ModelError> {
        predict(
            || Ok(self.replica(snapshot)?.model),
            split,
            self.experiment.plan.training.eval_batch_size as usize,
            self.experiment.pad(),
            self.compute,
        )
    }

    /// Sorts updates into those that can be folded, with their weights, and refusals.
    fn accept(
        &self,
        updates: Vec<Contribution<ClientUpdate>>,
    ) -> (Vec<StartedUpdate>, Vec<Refusal>) {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for update in updates {
            let client = update.client.0 as usize;
            let expected = self.experiment.trained_by(client, update.base_round);
            if let Err(reason) = check_update(&update.update.0, &expected) {
                let client = update.client;
                refused.push(Refusal { client, reason });
                continue;
            }
            let examples = match self.experiment.plan.aggregation.weighting {
                Weighting::Uniform => 1.0,
                Weighting::Examples => update.examples as f64,
            };
            accepted.push(StartedUpdate {
                update: self.widened(client, update.update.0),
                weight: update.weight * examples,
                base_round: update.base_round,
            });
        }
        let total: f64 = accepted.iter().map(|update| update.weight).sum();
        accepted
            .iter_mut()
            .for_each(|update| update.weight /= total);
        (accepted, refused)
    }

    /// The trained tensors that a round's clients started from.
    fn start_of(&self, round: u32) -> Option<Arc<TensorMap>> {
        let (_, start) = self.starts.range(..=round).next_back()?;
        Some(Arc::clone(start))
    }

    /// An update of a lower rank as one of the server's.
    fn widened(&self, client: usize, update: TensorMap) -> TensorMap {
        match self.experiment.client_adapters.get(client) {
            Some(_) => {
                let plan = &self.experiment.plan.adapter;
                let ratio = plan.scaling(plan.ranks[client]) / plan.scaling(plan.r);
                widen(update, &self.state.trained, ratio as f32)
            }
            None => update,
        }
    }

    fn fold(&mut self, round: u32, updates: Vec<StartedUpdate>) -> Result<f64, ModelError> {
        let mixture = Mixture::of(updates, round, |round| self.start_of(round));
        let experiment = Arc::clone(&self.experiment);
        let plan = &experiment.plan;
        let started_from = Arc::clone(&self.snapshot);
        let borrowed: Vec<&TensorMap> = mixture.tensors.iter().collect();
        let fold_scale = match plan.aggregation.vera_scale {
            true => plan.training.lr / plan.adapter.scaling(plan.adapter.r),
            false => 1.0,
        };
        let context = Round {
            round,
            adapter: &*experiment.adapter,
            groups: &experiment.groups,
            updates: Population {
                state: &started_from.trained,
                updates: &borrowed,
                weights: &mixture.weights,
                device: self.compute.device,
            },
            fold_scale,
            seed: plan.seed,
        };
        // Worked on a copy: an error must leave the state as it was.
        let mut state = self.state.clone();
        let report = experiment.method.aggregate(&context, &mut state)?;
        self.state = state;
        self.history.push(round, report.residual_ranks);
        Ok(report.exactness_error)
    }

    fn keep_best(&mut self, round: u32, scores: &Scores) {
        let primary = self.experiment.plan.data.task.primary_metric();
        // Predictions all alike have no correlation: not a number, and no score to keep.
        let Some(&score) = scores.get(primary).filter(|score| score.is_finite()) else {
            return;
        };
        if self.best.as_ref().is_none_or(|best| score > best.score) {
            self.best = Some(Best {
                round,
                score,
                state: Arc::clone(&self.snapshot),
            });
        }
    }
}

impl Folder for Server {
    type Global = Snapshot;
    type Update = ClientUpdate;

    fn global(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn download_bytes(&self, holds_round: Option<u32>) -> u64 {
        let next_round = self.snapshot.rounds + 1;
        match holds_round {
            Some(round) if round >= next_round => 0,
            // The first adapter follows from the seed, so having nothing is holding round 1's.
            _ => {
                let since = holds_round.unwrap_or(1);
                self.sent_bytes + self.history.bytes_since(since, &self.experiment.groups)
            }
        }
    }

    fn forget_before(&mut self, round: u32) {
        // The last one before it is what the round's own clients started from.
        let kept = self
            .starts
            .range(..=round)
            .next_back()
            .map(|(first, _)| *first);
        self.starts.retain(|first, _| Some(*first) >= kept);
    }

    fn upload_bytes(&self, update: &ClientUpdate) -> u64 {
        update.0.bytes()
    }

    fn aggregate(
        &mut self,
        round: u32,
        updates: Vec<Contribution<ClientUpdate>>,
    ) -> Result<Aggregation, BoxError> {
        let (updates, refused) = self.accept(updates);
        // What training left, then what the updates leave.
        allocator::give_back();
        let exactness_error = match updates.is_empty() {
            true => None,
            false => Some(self.fold(round, updates)?),
        };
        allocator::give_back();
        self.snapshot = Arc::new(Snapshot::of(&self.state, round));
        let start = Arc::clone(&self.snapshot.trained);
        self.starts.insert(round + 1, start);
        let state_digest = self.snapshot.digest();
        Ok(Aggregation {
            exactness_error,
            state_digest,
            refused,
        })
    }

    fn evaluate(&mut self, round: u32) -> Result<Scores, BoxError> {
        let task = self.experiment.plan.data.task;
        let mut scores = BTreeMap::new();
        for split in &self.experiment.validation {
            let predictions = self.predict(&self.snapshot, split)?;
            let suffix = split.name().score_suffix();
            scores.insert(format!("loss{suffix}"), predictions.loss);
            let decided = metrics::predictions(task, &predictions.logits);
            for (metric, value) in metrics::evaluate(task, &decided, split.labels()) {
                scores.insert(format!("{metric}{suffix}"), value);
            }
        }
        self.keep_best(round, &scores);
        Ok(scores)
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        self.folder.check()?;
        results::write(self).map_err(BoxError::from)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        self.folder.check()?;
        saved::encode(self)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        saved::restore(self, bytes)
    }
}
