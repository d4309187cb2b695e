//! The server's worker: checks, aggregates and scores, and keeps the best state.

pub(crate) mod checkpoint;
pub(crate) mod pipeline;
pub mod results;

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::ServerAggregator;
use regatta_actors::workload::update::{Aggregation, BoxError, Contribution, Payload, Scores};

use crate::aggregate::state::GlobalState;
use crate::aggregate::traffic::ResidualHistory;
use crate::base::tensors::TensorMap;
use crate::base::{allocator, torch};
use crate::data::tokenize::EncodedSplit;
use crate::experiment::Federation;
use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::prepare::Experiment;
use crate::experiment::server::pipeline::Aggregated;
use crate::model::ModelError;
use crate::runs::folder::RunFolder;
use crate::tasks::metrics::classification;
use crate::train::evaluate::{Predictions, predict};
use crate::train::precision::Compute;
use crate::train::replica::{Replica, RoundModel};

/// See the module.
pub struct Server {
    pub(crate) experiment: Arc<Experiment>,
    bases: Arc<BaseWeightCache>,
    pub(crate) folder: RunFolder,
    pub(crate) compute: Compute,
    pub(crate) state: GlobalState,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What clients started from, by the first round that they did so in; for updates that come
    /// rounds later.
    pub(crate) starts: BTreeMap<u32, Arc<TensorMap>>,
    pub(crate) history: ResidualHistory,
    /// Bytes of what every client downloads each round, residuals aside.
    sent_bytes: u64,
    pub(crate) best: Option<BestState>,
}

/// The state with the best primary score.
#[derive(Debug, Clone)]
pub(crate) struct BestState {
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
        bases: Arc<BaseWeightCache>,
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
        let sent_bytes =
            state.trained.bytes() - crate::experiment::initial_state::unsent_bytes(&experiment);
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
        let shared = RoundModel::new(base, &snapshot.trained, adapter, layers, device)?;
        let own = shared.state.clone();
        let (config, labels) = (&experiment.checkpoint.config, experiment.labels);
        Replica::new(&shared, config, labels, layers, own, |_| false)
    }

    /// What the model at a snapshot says of a split.
    pub(crate) fn predict(
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

impl ServerAggregator<Federation> for Server {
    fn state(&self) -> Arc<Snapshot> {
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
        // What training left, then what the updates leave.
        allocator::give_back();
        let Aggregated {
            exactness_error,
            refused,
        } = self.fold(round, updates)?;
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

    fn finish(&mut self) -> Result<(), BoxError> {
        self.folder.check()?;
        results::write(self).map_err(BoxError::from)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        self.folder.check()?;
        checkpoint::encode(self)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        checkpoint::restore(self, bytes)
    }
}
