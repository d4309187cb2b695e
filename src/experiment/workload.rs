//! What the actors call: the workload's traits, over a lane's trainer and the server.

use std::sync::Arc;

use regatta_actors::ids::{Digest, LaneId};
use regatta_actors::plan::fault::Corruption;
use regatta_actors::random::Stream;
use regatta_actors::workload::job::{JobContext, JobError, TrainResult, TrainTask, Trained};
use regatta_actors::workload::update::{Aggregation, BoxError, Contribution, Payload, Scores};
use regatta_actors::workload::{ClientTrainer, ServerAggregator, ServerWorkload, Workload};

use crate::base::allocator;
use crate::base::torch::error::Meaning;
use crate::experiment::attacks;
use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::client::LaneTrainer;
use crate::experiment::client::failures::device_lost;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::prepared::Experiment;
use crate::experiment::server::pipeline::Aggregated;
use crate::experiment::server::state::Server;
use crate::experiment::server::{checkpoint, results};
use crate::runs::folder::RunFolder;

/// The workload of a run: builds the lanes' trainers and the server's aggregator.
pub struct Federation {
    pub(crate) experiment: Arc<Experiment>,
    pub(crate) bases: Arc<BaseWeightCache>,
    pub(crate) folder: RunFolder,
}

impl Federation {
    /// The workload of an experiment whose results go into the folder.
    #[must_use]
    pub fn new(experiment: Experiment, folder: RunFolder) -> Self {
        let experiment = Arc::new(experiment);
        Self {
            bases: Arc::new(BaseWeightCache::new(Arc::clone(&experiment))),
            experiment,
            folder,
        }
    }
}

impl Workload for Federation {
    type State = Snapshot;
    type Update = ClientUpdate;
    type Trainer = LaneTrainer;

    fn trainer(&self, lane: LaneId) -> Result<LaneTrainer, BoxError> {
        let spec = self.experiment.plan.devices.lanes.get(lane.0 as usize);
        let spec = spec.ok_or_else(|| format!("the plan has no lane {}", lane.0))?;
        LaneTrainer::new(Arc::clone(&self.experiment), Arc::clone(&self.bases), *spec)
    }

    fn device(&self, lane: LaneId) -> String {
        let spec = self.experiment.plan.devices.lanes.get(lane.0 as usize);
        spec.map_or_else(String::new, |spec| spec.device.to_string())
    }

    fn corrupt(
        &self,
        update: &mut ClientUpdate,
        start: &Snapshot,
        corruption: Corruption,
        stream: &mut Stream,
    ) -> Result<(), BoxError> {
        attacks::corrupt(update, &start.trained, corruption, stream)
    }
}

impl ServerWorkload for Federation {
    type Aggregator = Server;

    fn aggregator(&self) -> Result<Server, BoxError> {
        let (experiment, bases) = (Arc::clone(&self.experiment), Arc::clone(&self.bases));
        Ok(Server::new(experiment, bases, self.folder.clone())?)
    }
}

impl ClientTrainer<Federation> for LaneTrainer {
    fn train(
        &mut self,
        task: &TrainTask<Snapshot>,
        context: &mut dyn JobContext,
    ) -> Result<Trained<ClientUpdate>, JobError> {
        let trained = self.train_client(task, context)?;
        trained.ok_or(JobError::Cancelled)
    }

    fn train_together(
        &mut self,
        tasks: &[TrainTask<Snapshot>],
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<TrainResult<ClientUpdate>>, JobError> {
        let trained = self.train_clients(tasks, contexts)?.into_iter();
        Ok(trained
            .map(|trained| trained.ok_or(JobError::Cancelled))
            .collect())
    }

    fn canary(&mut self) -> Result<Digest, BoxError> {
        Ok(self.train_canary()?)
    }

    fn relieve_memory(&mut self) {
        self.free_memory();
    }
}

impl ServerAggregator<Federation> for Server {
    fn state(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshot())
    }

    fn download_bytes(&self, holds_round: Option<u32>) -> u64 {
        self.bytes_to_send(holds_round)
    }

    fn forget_before(&mut self, round: u32) {
        self.forget_starts_before(round);
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
            measures,
            refused,
        } = self.aggregate_round(round, updates).map_err(server_error)?;
        allocator::give_back();
        self.publish(round);
        Ok(Aggregation {
            exactness_error,
            measures,
            state_digest: self.snapshot().digest(),
            refused,
        })
    }

    fn evaluate(&mut self, round: u32) -> Result<Scores, BoxError> {
        self.score(round).map_err(server_error)
    }

    fn finish(&mut self, predicted: &(dyn Fn(u64, u64) + Sync)) -> Result<(), BoxError> {
        results::write(self, predicted).map_err(server_error)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        checkpoint::encode(self)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        checkpoint::restore(self, bytes)
    }
}

/// An error of the server, which is not to be built again on a device that is lost.
fn server_error(error: impl std::error::Error + Send + Sync + 'static) -> BoxError {
    let text = error.to_string();
    match Meaning::of(&text) {
        Meaning::DeviceLost => device_lost(&text).into(),
        Meaning::OutOfMemory | Meaning::Other => error.into(),
    }
}
