//! The federation of transformers: what the actors call to train, aggregate and score.
//!
//! | file | holds |
//! |---|---|
//! | [`experiment`] | everything a run needs, loaded and checked once, shared by all threads |
//! | [`start`] | the state before the first round |
//! | [`payload`] | what travels: snapshots down, updates up |
//! | [`bases`] | frozen weights, once per device |
//! | [`trainer`] | a lane's worker: one client's round after another |
//! | `memory` | what a client's memory allows |
//! | [`server`] | the server's worker: checks, aggregates, scores |
//! | `aggregate` | which updates are aggregated, and how they become the next state |
//! | `saved` | the server's state as bytes, for checkpoints |
//! | `corrupt` | updates corrupted on purpose |
//! | `course` | what must be the same for a run to be resumed |
//! | [`results`] | what a run leaves behind: model and predictions |

pub(crate) mod attacks;
pub mod base_weights;
pub mod client;
pub(crate) mod fingerprint;
pub mod initial_state;
pub mod inputs;
pub(crate) mod memory_estimate;
pub mod payload;
pub mod prepare;
pub mod server;

use std::path::Path;
use std::sync::Arc;

use regatta_actors::ids::LaneId;
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::Control;
use regatta_actors::plan::fault::Corruption;
use regatta_actors::plan::profile::Profile;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use regatta_actors::random::Stream;
use regatta_actors::runtime::run_recorded;
use regatta_actors::workload::update::BoxError;
use regatta_actors::workload::{ServerWorkload, Workload};

use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::client::LaneTrainer;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::prepare::Experiment;
use crate::experiment::server::Server;
use crate::runs::folder::RunFolder;

/// The learner of a run: builds the workers that the actors drive.
pub struct Federation {
    experiment: Arc<Experiment>,
    bases: Arc<BaseWeightCache>,
    folder: RunFolder,
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

/// Runs an experiment to its end and writes its record, model and predictions into the folder.
///
/// # Errors
/// What ended the run before its time.
pub fn execute(
    experiment: Experiment,
    folder: &RunFolder,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let files = folder.files(&experiment.plan);
    let (plan, learner) = prepare(experiment, folder);
    run_recorded(plan, learner, observers, control, &files)
}

/// Goes on with a run from its last checkpoint.
///
/// # Errors
/// What ended the run before its time, or why there is nothing to go on from.
pub fn resume(
    experiment: Experiment,
    folder: &RunFolder,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let files = folder.files(&experiment.plan);
    let (plan, learner) = prepare(experiment, folder);
    regatta_actors::resume(plan, learner, observers, control, &files)
}

/// Runs an experiment again, its results going to `scratch`, and compares each event with a
/// ledger's. Gives how many are the same, which is all of them.
///
/// # Errors
/// The first event that differs, in both versions; or what ended the run before its time.
pub fn replay(
    experiment: Experiment,
    scratch: &RunFolder,
    ledger: &Path,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<u64, RunError> {
    let checkpoints = scratch.files(&experiment.plan).checkpoints;
    let (plan, learner) = prepare(experiment, scratch);
    let checkpoints = checkpoints.as_deref();
    regatta_actors::replay_check(plan, learner, observers, control, ledger, checkpoints)
}

fn prepare(experiment: Experiment, folder: &RunFolder) -> (FederationPlan, Arc<Federation>) {
    let plan = federation_plan(&experiment);
    let experiment = Arc::new(experiment);
    let bases = Arc::new(BaseWeightCache::new(Arc::clone(&experiment)));
    let learner = Federation {
        experiment,
        bases,
        folder: folder.clone(),
    };
    (plan, Arc::new(learner))
}

/// The plan as the actors take it. Where there is a lane for each client, each has its own.
fn federation_plan(experiment: &Experiment) -> FederationPlan {
    let plan = &experiment.plan;
    let simulation = plan.simulation.clone();
    let lanes = plan.devices.lanes.len();
    let own_lanes = lanes == experiment.shards.len();
    let shards = experiment.shards.iter().enumerate();
    let client = |((i, shard), profile): ((usize, &Vec<u32>), Profile)| ClientPlan {
        name: experiment.client_names[i].clone(),
        examples: shard.len() as u64,
        epochs: plan.training.local_epochs,
        lane: own_lanes.then_some(LaneId(i as u32)),
        profile,
    };
    FederationPlan {
        run: plan.name.clone(),
        seed: plan.seed,
        rounds: plan.rounds,
        eval_every: plan.eval_every,
        clients: shards.zip(simulation.profiles).map(client).collect(),
        lanes: lanes as u32,
        faults: simulation.faults,
        policy: simulation.policy,
        sampling: simulation.sampling,
        too_few: simulation.too_few,
        restart: simulation.restart,
        checkpoints: simulation.checkpoints,
        clock: simulation.clock,
        watchdog_seconds: simulation.watchdog.map(|limit| limit.as_secs_f64()),
        course: fingerprint::course(experiment),
    }
}
