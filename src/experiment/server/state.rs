//! What the server holds: the global state, what clients started from, and the best state so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::update::Scores;
use tch::Device;

use crate::aggregate::state::GlobalState;
use crate::aggregate::traffic::ResidualHistory;
use crate::base::tensors::TensorMap;
use crate::base::torch;
use crate::data::encoded::EncodedSplit;
use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::payload::Snapshot;
use crate::experiment::prepared::Experiment;
use crate::experiment::prompts::EncodedPrompt;
use crate::experiment::server::room::{with_fewer, with_room};
use crate::experiment::texts::{TextWriter, WritingError};
use crate::model::ModelError;
use crate::runs::folder::RunFolder;
use crate::tasks::texts::{GenerationPlan, WrittenText};
use crate::train::evaluate::{Predictions, predict_counting};
use crate::train::precision::Compute;
use crate::train::replica::{Replica, RoundModel};
use crate::train::settings::Precision;

/// See the module.
pub struct Server {
    pub(super) experiment: Arc<Experiment>,
    pub(super) bases: Arc<BaseWeightCache>,
    pub(super) folder: RunFolder,
    pub(super) compute: Compute,
    pub(super) state: GlobalState,
    pub(super) snapshot: Arc<Snapshot>,
    /// What clients started from, by the first round that they did so in; for updates that come
    /// rounds later.
    pub(super) starts: BTreeMap<u32, Arc<TensorMap>>,
    pub(super) history: ResidualHistory,
    /// Bytes of what every client downloads each round, residuals aside.
    pub(super) sent_bytes: u64,
    pub(super) best: Option<BestState>,
    /// Of the model before training; computed when they are first needed.
    pub(super) base_scores: BaseScores,
}

/// The state with the best primary score.
#[derive(Debug, Clone)]
pub(super) struct BestState {
    /// The round after which it was scored.
    pub round: u32,
    /// The primary score.
    pub score: f64,
    /// The state.
    pub state: Arc<Snapshot>,
}

/// The scores of the model before training.
#[derive(Debug, Default)]
pub(super) struct BaseScores {
    /// Those that need no text.
    pub losses: Option<Scores>,
    /// Those of texts for the first N prompts.
    pub texts: Option<(usize, Scores)>,
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
            base_scores: BaseScores::default(),
        })
    }

    /// The model at a snapshot, ready to predict.
    pub(crate) fn replica(&self, snapshot: &Snapshot) -> Result<Replica, ModelError> {
        self.replica_on(self.compute.device, snapshot)
    }

    fn replica_on(&self, device: Device, snapshot: &Snapshot) -> Result<Replica, ModelError> {
        let experiment = &self.experiment;
        let base = self.bases.at(snapshot, device)?;
        let (adapter, layers) = (&*experiment.adapter, &experiment.layers);
        let shared = RoundModel::new(base, &snapshot.trained, adapter, layers, device)?;
        let own = shared.state.clone();
        let (architecture, objective) =
            (&*experiment.checkpoint.architecture, &experiment.objective);
        Replica::new(&shared, architecture, objective, layers, own, |_| false)
    }

    /// The predictions of the model at a snapshot for a split. `counted` is told how many examples
    /// are done.
    pub(crate) fn predict(
        &self,
        snapshot: &Snapshot,
        split: &EncodedSplit,
        counted: &(dyn Fn(usize) + Sync),
    ) -> Result<Predictions, ModelError> {
        let batch = self.experiment.plan.training.eval_batch_size as usize;
        with_room("evaluating", self.compute.device, |device| {
            let compute = match device == self.compute.device {
                true => self.compute,
                false => Compute::of(Precision::Float32, device),
            };
            let model = || Ok(self.replica_on(device, snapshot)?.model);
            let pad = self.experiment.pad();
            with_fewer(batch, |batch| {
                predict_counting(model, split, batch, pad, compute, counted)
            })
        })
    }

    /// Texts of the model at a snapshot. `counted` is told how many are written.
    pub(crate) fn write_texts(
        &self,
        snapshot: &Snapshot,
        plan: &GenerationPlan,
        prompts: &[EncodedPrompt],
        counted: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<WrittenText>, WritingError> {
        let experiment = &self.experiment;
        let writer = TextWriter {
            plan,
            encoder: &experiment.encoder,
            end_tokens: &experiment.end_tokens,
            batch: experiment.plan.training.eval_batch_size as usize,
            seed: experiment.plan.seed,
            compute: self.compute,
        };
        writer.write(|| Ok(self.replica(snapshot)?.model), prompts, counted)
    }

    /// The state as clients download it.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Makes the state after a round the one that clients start from next.
    pub(crate) fn publish(&mut self, round: u32) {
        self.snapshot = Arc::new(Snapshot::of(&self.state, round));
        let start = Arc::clone(&self.snapshot.trained);
        self.starts.insert(round + 1, start);
    }

    /// Forgets the states that only updates which started before this round need.
    pub(crate) fn forget_starts_before(&mut self, round: u32) {
        // The last one before it is what the round's own clients started from.
        let kept = self
            .starts
            .range(..=round)
            .next_back()
            .map(|(first, _)| *first);
        self.starts.retain(|first, _| Some(*first) >= kept);
    }

    /// Bytes that a client downloads which has the state that this round started from.
    pub(crate) fn bytes_to_send(&self, holds_round: Option<u32>) -> u64 {
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
}
