//! What the server holds: the global state, what clients started from, and the best state so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::update::Scores;

use crate::aggregate::state::GlobalState;
use crate::aggregate::traffic::ResidualHistory;
use crate::base::tensors::TensorMap;
use crate::base::torch;
use crate::data::tokenize::EncodedSplit;
use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::payload::Snapshot;
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::runs::folder::RunFolder;
use crate::train::evaluate::{Predictions, predict};
use crate::train::precision::Compute;
use crate::train::replica::{Replica, RoundModel};

/// See the module.
pub struct Server {
    pub(crate) experiment: Arc<Experiment>,
    pub(crate) bases: Arc<BaseWeightCache>,
    pub(crate) folder: RunFolder,
    pub(crate) compute: Compute,
    pub(crate) state: GlobalState,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What clients started from, by the first round that they did so in; for updates that come
    /// rounds later.
    pub(crate) starts: BTreeMap<u32, Arc<TensorMap>>,
    pub(crate) history: ResidualHistory,
    /// Bytes of what every client downloads each round, residuals aside.
    pub(crate) sent_bytes: u64,
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
    /// If the device fails.
    pub fn new(
        experiment: Arc<Experiment>,
        bases: Arc<BaseWeightCache>,
        folder: RunFolder,
    ) -> Result<Self, ModelError> {
        // The lanes rest while the server works, so it may have all cores. The number must not
        // depend on the lanes: it may decide the last bits of an aggregate.
        torch::threads::use_threads(u32::try_from(torch::threads::cores()).unwrap_or(u32::MAX));
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
    pub(crate) fn replica(&self, snapshot: &Snapshot) -> Result<Replica, ModelError> {
        let experiment = &self.experiment;
        let device = self.compute.device;
        let base = self.bases.at(snapshot, device)?;
        let (adapter, layers) = (&*experiment.adapter, &experiment.layers);
        let shared = RoundModel::new(base, &snapshot.trained, adapter, layers, device)?;
        let own = shared.state.clone();
        let (architecture, objective) =
            (&*experiment.checkpoint.architecture, &experiment.objective);
        Replica::new(&shared, architecture, objective, layers, own, |_| false)
    }

    /// The predictions of the model at a snapshot for a split.
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

    pub(crate) fn keep_best(&mut self, round: u32, scores: &Scores) {
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
