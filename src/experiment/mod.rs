//! Federated training of transformers: what the actors call to train, aggregate and score.
//!
//! | file | holds |
//! |---|---|
//! | [`inputs`] | the files that a plan names, read and checked, among them a model's (`local_model`) |
//! | [`prepared`] | everything a run needs, shared by all threads |
//! | [`prepare`] | how it is loaded and checked, with the PEFT folder (`init_adapter`) and the state (`initial_state`) that it starts from |
//! | [`prompts`] | the prompts that texts are written for |
//! | [`texts`] | texts that a model writes for prompts |
//! | [`workload`] | what the actors call |
//! | [`client`] | a lane's trainer: one client's round after another |
//! | [`local_baseline`] | what each client reaches alone |
//! | [`server`] | the server: checks, aggregates, scores, writes results |
//! | [`payload`] | what travels: snapshots down, updates up |
//! | [`base_weights`] | frozen weights, once per device |
//! | `memory_estimate` | what a client's memory allows |
//! | `attacks` | updates corrupted on purpose |
//! | `remote` | what a run asks of other hosts, and what a host makes of it |
//! | `fingerprint` | what must be the same for a run to be resumed |

pub(crate) mod attacks;
pub mod base_weights;
pub mod client;
pub(crate) mod fingerprint;
pub(crate) mod init_adapter;
pub mod initial_state;
pub mod inputs;
pub mod local_baseline;
pub(crate) mod local_model;
pub(crate) mod memory_estimate;
pub mod payload;
pub mod prepare;
pub mod prepared;
pub mod prompts;
#[cfg(feature = "cluster")]
pub(crate) mod remote;
pub mod server;
pub mod texts;
pub mod workload;

use std::sync::Arc;
use std::thread;

use regatta_actors::Run;
use regatta_actors::ids::{Digest, LaneId};
use regatta_actors::plan::profile::Profile;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::runtime::RunFiles;
use regatta_actors::workload::update::BoxError;
use regatta_actors::workload::{ClientTrainer, Workload};

use crate::experiment::prepared::Experiment;
use crate::experiment::workload::Federation;
use crate::runs::folder::RunFolder;

/// An experiment as the actors run it.
pub struct FederatedRun {
    pub(crate) plan: FederationPlan,
    pub(crate) workload: Arc<Federation>,
    pub(crate) files: RunFiles,
}

impl FederatedRun {
    /// A run that writes its record, model and predictions into the folder. Trains the canary job:
    /// where it gives something else, the run is not to be resumed.
    ///
    /// # Errors
    /// If the canary job fails.
    pub fn new(experiment: Experiment, folder: &RunFolder) -> Result<Self, BoxError> {
        let files = folder.files(&experiment.plan);
        let workload = Federation::new(experiment, folder.clone());
        let mut plan = federation_plan(&workload.experiment);
        plan.canary = Some(canary(&workload)?);
        Ok(Self {
            plan,
            workload: Arc::new(workload),
            files,
        })
    }

    /// The run on lanes of this process.
    #[must_use]
    pub fn local(self) -> Run<Federation> {
        Run::new(self.plan, self.workload).recorded_in(&self.files)
    }
}

/// What the canary job gives on the first lane's device, on a thread of its own: a lane sets the
/// number of threads that libtorch has on its thread.
fn canary(workload: &Federation) -> Result<Digest, BoxError> {
    let job = || workload.trainer(LaneId(0))?.canary();
    let done = thread::scope(|scope| scope.spawn(job).join());
    let done = done.unwrap_or_else(|_| Err("it panicked".into()));
    done.map_err(|error| format!("the canary job failed: {error}").into())
}

/// The plan as the actors take it. Where there is a lane for each client, each has its own, unless
/// clients are trained together.
fn federation_plan(experiment: &Experiment) -> FederationPlan {
    let plan = &experiment.plan;
    let simulation = plan.simulation.clone();
    let lanes = plan.devices.lanes.len();
    let clients_per_step = plan.training.clients_per_step;
    let own_lanes = clients_per_step == 1 && lanes == experiment.shards.len();
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
        clients_per_step,
        faults: simulation.faults,
        policy: simulation.policy,
        sampling: simulation.sampling,
        too_few: simulation.too_few,
        restart: simulation.restart,
        checkpoints: simulation.checkpoints,
        clock: simulation.clock,
        watchdog_seconds: simulation.watchdog.map(|limit| limit.as_secs_f64()),
        fingerprint: fingerprint::of(experiment),
        canary: None,
    }
}
