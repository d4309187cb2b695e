//! A lane's trainer: one client's round after another, on one device.

mod canary;
pub(crate) mod failures;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::random::StreamKey;
use regatta_actors::workload::job::{JobContext, JobError, TrainTask, Trained};
use regatta_actors::workload::update::{BoxError, Payload};
use tch::Device;

use crate::base::machine::device::LaneSpec;
use crate::base::torch;
use crate::base::torch::error::TorchError;
use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::client::failures::job_error;
use crate::experiment::memory_estimate;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::train::client_round::{ClientRound, LocalResult, LocalTraining};
use crate::train::joint::JointRound;
use crate::train::precision::Compute;
use crate::train::replica::{Replica, RoundModel};

/// Tokens whose activations a core's caches hold; measured, see "A round, by what multiplies" in
/// `benches/RESULTS.md`.
const CACHED_TOKENS: usize = 1024;

/// See the module.
pub struct LaneTrainer {
    experiment: Arc<Experiment>,
    bases: Arc<BaseWeightCache>,
    compute: Compute,
    /// What clients of the same round, and of the same rank, share.
    shared: Option<(Digest, BTreeMap<usize, RoundModel>)>,
    /// Parts that a batch is cut into, each with its own backward pass: more after a lack of memory,
    /// for all clients that follow.
    micro_batches: usize,
}

impl LaneTrainer {
    /// A worker for a lane, on the lane's own thread.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(
        experiment: Arc<Experiment>,
        bases: Arc<BaseWeightCache>,
        lane: LaneSpec,
    ) -> Result<Self, BoxError> {
        torch::threads::use_threads(lane.threads);
        let compute = experiment.compute(lane.device.into());
        compute.settle()?;
        torch::device::own_stream(compute.device)?;
        Ok(Self {
            experiment,
            bases,
            compute,
            shared: None,
            micro_batches: 1,
        })
    }

    /// Trains a client's round; `None` if it is cancelled.
    ///
    /// # Errors
    /// If a tensor is missing, the client's memory or the device's does not suffice, or the device
    /// fails.
    pub(crate) fn train_client(
        &mut self,
        task: &TrainTask<Snapshot>,
        context: &mut dyn JobContext,
    ) -> Result<Option<Trained<ClientUpdate>>, JobError> {
        let parts = self.parts_of_batch(task.client)?;
        self.train_round(task, context, parts)
            .map_err(|error| job_error(error, self.compute.device))
    }

    /// Frees what can be made again, and cuts batches into twice as many parts from now on: a model
    /// that has no room for a batch has none for the next client's either, who would find out at
    /// the longest one of its round.
    pub(crate) fn free_memory(&mut self) {
        self.let_go();
        let batch = self.experiment.plan.training.batch_size as usize;
        let parts = (2 * self.micro_batches).min(batch.max(1));
        if parts > self.micro_batches {
            tracing::warn!(
                "this lane computes batches in {parts} parts from now on; a smaller --batch_size, or \
                 --checkpoint_blocks, needs less memory"
            );
        }
        self.micro_batches = parts;
        if let Device::Cuda(_) = self.compute.device
            && let Err(error) = torch::device::empty_cuda_cache()
        {
            let error = TorchError::from(error);
            tracing::warn!("cannot free cached GPU memory: {error}");
        }
    }

    /// Trains several clients' rounds together; `None` for one that is cancelled.
    ///
    /// # Errors
    /// If a tensor is missing, a client's memory or the device's does not suffice, or the device fails.
    pub(crate) fn train_clients(
        &mut self,
        tasks: &[TrainTask<Snapshot>],
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<Option<Trained<ClientUpdate>>>, JobError> {
        let parts = tasks.iter().map(|task| self.parts_of_batch(task.client));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        self.train_rounds(tasks, contexts, &parts)
            .map_err(|error| job_error(error, self.compute.device))
    }

    fn train_rounds(
        &mut self,
        tasks: &[TrainTask<Snapshot>],
        contexts: &mut [&mut dyn JobContext],
        parts: &[usize],
    ) -> Result<Vec<Option<Trained<ClientUpdate>>>, ModelError> {
        let experiment = Arc::clone(&self.experiment);
        let replicas = tasks.iter().map(|task| self.replica(task));
        let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
        let rounds = tasks.iter().zip(&replicas).zip(parts);
        let rounds: Vec<_> = rounds
            .map(|((task, replica), parts)| {
                let shard = &experiment.shards[task.client.0 as usize];
                let parts = self.micro_batches * parts;
                self.round_of(
                    &experiment,
                    replica,
                    shard,
                    key_of(&experiment, task),
                    parts,
                )
            })
            .collect();
        let training = experiment.local_training();
        let results = self.train_together(tasks, &replicas, &rounds, &training, contexts)?;
        let trained = results.into_iter().zip(&replicas);
        trained
            .map(|(result, replica)| result.map(|result| trained_of(replica, result)).transpose())
            .collect()
    }

    /// Trains rounds of one state, of these tasks and replicas, in one pass a step.
    fn train_together(
        &mut self,
        tasks: &[TrainTask<Snapshot>],
        replicas: &[Replica],
        rounds: &[ClientRound<'_>],
        training: &LocalTraining,
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<Option<LocalResult>>, ModelError> {
        let Some(first) = tasks.first() else {
            return Ok(Vec::new());
        };
        let experiment = Arc::clone(&self.experiment);
        let (architecture, layers) = (&*experiment.checkpoint.architecture, &experiment.layers);
        let shared = self.shared(&first.state, first.client)?;
        let objective = &experiment.objective;
        let mut model = Replica::joint(shared, architecture, objective, layers, replicas)?;
        if experiment.plan.training.checkpoint_blocks {
            model.model.checkpoint_blocks();
        }
        let round = JointRound {
            model: &model,
            clients: rounds,
            compute: self.compute,
            part_tokens: self.part_tokens(),
        };
        training.run_joint(&round, contexts)
    }

    fn train_round(
        &mut self,
        task: &TrainTask<Snapshot>,
        context: &mut dyn JobContext,
        parts: usize,
    ) -> Result<Option<Trained<ClientUpdate>>, ModelError> {
        let experiment = Arc::clone(&self.experiment);
        let mut replica = self.replica(task)?;
        if experiment.plan.training.checkpoint_blocks {
            replica.model.checkpoint_blocks();
        }
        let shard = &experiment.shards[task.client.0 as usize];
        let parts = self.micro_batches * parts;
        let key = key_of(&experiment, task);
        let job = self.round_of(&experiment, &replica, shard, key, parts);
        let result = experiment.local_training().run(&job, context)?;
        result
            .map(|result| trained_of(&replica, result))
            .transpose()
    }

    fn round_of<'a>(
        &self,
        experiment: &'a Experiment,
        replica: &'a Replica,
        shard: &'a [u32],
        key: StreamKey<'a>,
        micro_batches: usize,
    ) -> ClientRound<'a> {
        ClientRound {
            replica,
            split: &experiment.train,
            shard,
            key,
            pad: experiment.pad(),
            compute: self.compute,
            micro_batches,
            row_tokens: (experiment.plan.training.pack)
                .then_some(experiment.plan.data.max_seq_length as usize),
            part_tokens: self.part_tokens(),
        }
    }

    /// Tokens that are trained at once: on a CPU [`CACHED_TOKENS`]. A GPU is the faster the more it
    /// gets.
    fn part_tokens(&self) -> Option<usize> {
        (self.compute.device == Device::Cpu).then_some(CACHED_TOKENS)
    }

    /// The parts that the client's memory wants a batch cut into.
    ///
    /// # Errors
    /// If it has no room for one example. That is the client's failure and no lack of the lane's
    /// memory, after which the lane would compute the batches of all other clients in more parts,
    /// with other last bits.
    fn parts_of_batch(&self, client: ClientId) -> Result<usize, JobError> {
        let profiles = &self.experiment.plan.simulation.profiles;
        let memory = profiles
            .get(client.0 as usize)
            .and_then(|profile| profile.memory);
        let parts = memory.map_or(Ok(1), |memory| {
            memory_estimate::parts(&self.experiment, memory)
        });
        parts.map_err(|reason| JobError::Failed(format!("out of memory: {reason}").into()))
    }

    /// The client's model at the start of the round.
    fn replica(&mut self, task: &TrainTask<Snapshot>) -> Result<Replica, ModelError> {
        let experiment = Arc::clone(&self.experiment);
        let client = task.client.0 as usize;
        let trained = experiment.trained_by(client, task.round);
        let shared = self.shared(&task.state, task.client)?;
        let mut own = shared.state.clone();
        for (name, shape) in &trained {
            let tensor = own.get(name)?;
            if tensor.size() != *shape {
                // A client of lower rank starts from the leading part.
                own.tensors.insert(name.clone(), leading(&tensor, shape)?);
            }
        }
        let trains = |name: &str| trained.iter().any(|(known, _)| known == name);
        let (architecture, layers) = (&*experiment.checkpoint.architecture, &experiment.layers);
        let objective = &experiment.objective;
        Replica::new(shared, architecture, objective, layers, own, trains)
    }

    /// Lets go of what clients share: when the device has done all that this lane gave it, for the
    /// memory is not this lane's, and may be another's at once.
    fn let_go(&mut self) {
        if let Err(error) = torch::device::wait_for_stream(self.compute.device) {
            // Who uses the device next finds out.
            tracing::debug!("a device is not waited for: {}", TorchError::from(error));
        }
        self.shared = None;
    }

    /// What is constant for all clients of a snapshot, made when the first of them comes.
    fn shared(&mut self, snapshot: &Snapshot, client: ClientId) -> Result<&RoundModel, ModelError> {
        let digest = snapshot.digest();
        if self.shared.as_ref().is_none_or(|(held, _)| *held != digest) {
            self.let_go();
        }
        let (_, by_adapter) = self.shared.get_or_insert_with(|| (digest, BTreeMap::new()));
        let experiment = &self.experiment;
        let client = client.0 as usize;
        // Clients share an adapter unless ranks differ.
        let own = if experiment.client_adapters.is_empty() {
            0
        } else {
            client
        };
        match by_adapter.entry(own) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let device = self.compute.device;
                let base = self.bases.at(snapshot, device)?;
                let (adapter, layers) = (experiment.adapter_of(client), &experiment.layers);
                let shared = RoundModel::new(base, &snapshot.trained, adapter, layers, device)?;
                Ok(entry.insert(shared))
            }
        }
    }
}

impl Drop for LaneTrainer {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What keys a client's random streams in a round.
fn key_of<'a>(experiment: &Experiment, task: &'a TrainTask<Snapshot>) -> StreamKey<'a> {
    StreamKey {
        seed: experiment.plan.seed,
        purpose: "training",
        name: &task.client_name,
        round: task.round,
        attempt: task.attempt,
    }
}

/// A client's update, of the replica that it trained.
fn trained_of(replica: &Replica, result: LocalResult) -> Result<Trained<ClientUpdate>, ModelError> {
    Ok(Trained {
        update: ClientUpdate(replica.update()?),
        loss: result.loss,
        examples: result.examples,
        steps: result.steps,
    })
}

/// The leading part of a tensor, of the given shape.
fn leading(tensor: &tch::Tensor, shape: &[i64]) -> Result<tch::Tensor, ModelError> {
    let mut part = tensor.shallow_clone();
    for (dim, len) in shape.iter().enumerate() {
        part = part.f_narrow(dim as i64, 0, *len)?;
    }
    Ok(part.f_contiguous()?)
}
