//! The canary job: by what it gives, a lane shows that it comes to the same bits as others.

use std::ops::ControlFlow;
use std::sync::Arc;

use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::random::StreamKey;
use regatta_actors::workload::job::{JobContext, Progress, TrainTask};
use regatta_actors::workload::update::Payload;

use crate::base::torch::error::Meaning;
use crate::experiment::client::LaneTrainer;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::train::client_round::LocalTraining;
use crate::train::replica::Replica;

/// Batches of a client: of a second one, the gradients depend on an optimiser's step.
const BATCHES: usize = 2;

/// A job that nobody watches or interrupts.
#[derive(Clone, Copy)]
struct Unwatched;

impl JobContext for Unwatched {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl LaneTrainer {
    /// Trains the first client's first batches from the state that the run begins with, and where clients
    /// are trained together, also those of as many clients in one pass: products of other shapes may be
    /// computed by other code. For what
    /// [`ClientTrainer::canary`](regatta_actors::workload::ClientTrainer::canary) says.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    pub(crate) fn train_canary(&mut self) -> Result<Digest, ModelError> {
        let experiment = Arc::clone(&self.experiment);
        let together = experiment.plan.training.clients_per_step as usize;
        let mut digests = self.digests_of(1)?;
        if together > 1 {
            match self.digests_of(together.min(experiment.shards.len())) {
                Ok(more) => digests.extend(more),
                // Clients are trained one by one here.
                Err(error) if Meaning::of(&error.to_string()) == Meaning::OutOfMemory => {}
                Err(error) => return Err(error),
            }
        }
        self.let_go();
        Ok(match &digests[..] {
            [alone] => alone.clone(),
            all => Digest::of(
                all.iter()
                    .map(|it| it.0.as_str())
                    .collect::<String>()
                    .as_bytes(),
            ),
        })
    }

    /// What the updates come to of so many clients, which are trained together.
    fn digests_of(&mut self, clients: usize) -> Result<Vec<Digest>, ModelError> {
        let experiment = Arc::clone(&self.experiment);
        let training = LocalTraining {
            epochs: 1,
            ..experiment.local_training()
        };
        let state = Arc::new(Snapshot::of(&experiment.initial, 0));
        let tasks: Vec<_> = (0..clients)
            .map(|at| task(&experiment, at, &state))
            .collect();
        let replicas = tasks.iter().map(|task| self.replica(task));
        let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
        let rounds = tasks.iter().zip(&replicas).map(|(task, replica)| {
            let key = StreamKey {
                seed: experiment.plan.seed,
                purpose: "canary",
                name: &task.client_name,
                round: 0,
                attempt: 0,
            };
            let shard = &experiment.shards[task.client.0 as usize];
            let shard = &shard[..shard.len().min(BATCHES * training.batch_size)];
            self.round_of(&experiment, replica, shard, key, 1)
        });
        let rounds: Vec<_> = rounds.collect();
        if let [alone] = &rounds[..] {
            training.run(alone, &mut Unwatched)?;
        } else {
            let mut unwatched = vec![Unwatched; clients];
            let mut contexts: Vec<&mut dyn JobContext> = Vec::new();
            contexts.extend(unwatched.iter_mut().map(|it| it as &mut dyn JobContext));
            self.train_together(&tasks, &replicas, &rounds, &training, &mut contexts)?;
        }
        let digest = |replica: &_| Ok(ClientUpdate(Replica::update(replica)?).digest());
        replicas.iter().map(digest).collect()
    }
}

fn task(experiment: &Experiment, client: usize, state: &Arc<Snapshot>) -> TrainTask<Snapshot> {
    TrainTask {
        client: ClientId(client as u32),
        client_name: experiment.client_names[client].as_str().into(),
        round: 1,
        attempt: 0,
        state: Arc::clone(state),
    }
}
