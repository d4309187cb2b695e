//! Federated training of transformers: what the actors call to train, aggregate and score.
//!
//! | file | holds |
//! |---|---|
//! | [`inputs`] | the files that a plan names, read and checked |
//! | [`prepared`] | everything a run needs, shared by all threads |
//! | [`prepare`] | how it is loaded and checked, with the PEFT folder (`init_adapter`) and the state (`initial_state`) that it starts from |
//! | [`workload`] | what the actors call |
//! | [`client`] | a lane's trainer: one client's round after another |
//! | [`server`] | the server: checks, aggregates, scores, writes results |
//! | [`payload`] | what travels: snapshots down, updates up |
//! | [`base_weights`] | frozen weights, once per device |
//! | `memory_estimate` | what a client's memory allows |
//! | `attacks` | updates corrupted on purpose |
//! | `fingerprint` | what must be the same for a run to be resumed |

pub(crate) mod attacks;
pub mod base_weights;
pub mod client;
pub(crate) mod fingerprint;
pub(crate) mod init_adapter;
pub mod initial_state;
pub mod inputs;
pub(crate) mod memory_estimate;
pub mod payload;
pub mod prepare;
pub mod prepared;
pub mod server;
pub mod workload;

use std::path::Path;
use std::sync::Arc;

use regatta_actors::ids::LaneId;
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::Control;
use regatta_actors::plan::profile::Profile;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use regatta_actors::runtime::run_recorded;

use crate::experiment::base_weights::BaseWeightCache;
use crate::experiment::prepared::Experiment;
use crate::experiment::workload::Federation;
use crate::runs::folder::RunFolder;

/// Runs an experiment to its end and writes its record, model and predictions into the folder.
///
/// # Errors
/// If an error ended the run.
pub fn execute(
    experiment: Experiment,
    folder: &RunFolder,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let files = folder.files(&experiment.plan);
    let (plan, workload) = prepare(experiment, folder);
    run_recorded(plan, workload, observers, control, &files)
}

/// Resumes a run from its last checkpoint.
///
/// # Errors
/// If an error ended the run, or there is nothing to resume from.
pub fn resume(
    experiment: Experiment,
    folder: &RunFolder,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let files = folder.files(&experiment.plan);
    let (plan, workload) = prepare(experiment, folder);
    regatta_actors::resume(plan, workload, observers, control, &files)
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
    let (plan, workload) = prepare(experiment, scratch);
    let checkpoints = checkpoints.as_deref();
    regatta_actors::replay_check(plan, workload, observers, control, ledger, checkpoints)
}

fn prepare(experiment: Experiment, folder: &RunFolder) -> (FederationPlan, Arc<Federation>) {
    let plan = federation_plan(&experiment);
    let experiment = Arc::new(experiment);
    let bases = Arc::new(BaseWeightCache::new(Arc::clone(&experiment)));
    let workload = Federation {
        experiment,
        bases,
        folder: folder.clone(),
    };
    (plan, Arc::new(workload))
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
        fingerprint: fingerprint::of(experiment),
    }
}
