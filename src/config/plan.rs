//! The plan of a run, fully resolved and checked, as the rest of the program uses it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use regatta_actors::plan::fault::Fault;
use regatta_actors::plan::policy::{MinUpdates, RoundPolicy};
use regatta_actors::plan::profile::Profile;
use regatta_actors::plan::restart::RestartPolicy;
use regatta_actors::plan::sampling::Sampling;
use regatta_actors::plan::{CheckpointPolicy, ClockMode};

use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::aggregate::settings::AggregationPlan;
use crate::base::machine::device::{DeviceSpec, LaneSpec};
use crate::base::torch::info::CudaGpu;
use crate::config::problems::{Origins, Problems};
use crate::config::settings::{Numerics, Settings};
use crate::config::tables::ScenarioTables;
use crate::data::partition::spec::Partition;
use crate::model::architecture::Architecture;
use crate::model::quantised::precision::BasePrecision;
use crate::model::source::location::ModelSource;
use crate::tasks::SharedTask;
use crate::tasks::texts::GenerationPlan;
use crate::train::settings::{Precision, TrainingPlan};

/// What settings alone decide of a run, as [`crate::config::load`] makes it. Where nothing is said,
/// the model decides which layers are adapted; a PEFT folder that the run starts from decides the
/// adapter. Only then is there a [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDraft(pub(crate) Plan);

impl Deref for PlanDraft {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl PlanDraft {
    /// The plan of a recorded run, whose settings have it all.
    #[must_use]
    pub fn into_plan(self) -> Plan {
        self.0
    }

    /// The same with a task that data and model have settled.
    #[must_use]
    pub fn with_task(mut self, task: SharedTask) -> Self {
        self.0.settings.template = task.template();
        self.0.data.task = task;
        self
    }

    /// The same with sequences no longer than this model takes, if the user did not choose a length.
    #[must_use]
    pub fn within(mut self, model: &dyn Architecture) -> Self {
        let length = self.max_seq_length_on(model);
        self.0.settings.max_seq_length = Some(length);
        self.0.data.max_seq_length = length;
        self
    }

    /// The plan of a run on this model that takes no adapter from a folder. What the model decides
    /// is recorded in the settings too.
    #[must_use]
    pub fn on(self, model: &dyn Architecture) -> Plan {
        let Self(mut plan) = self;
        plan.adapter = plan.adapter_on(model);
        plan.settings.target_modules = plan.adapter.target_modules.clone();
        plan.settings.fan_in_fan_out = Some(plan.adapter.fan_in_fan_out);
        plan
    }

    /// The plan of a run that takes its adapter from a PEFT folder. The settings are brought into
    /// line with it, so that the scenario in the run's folder gives the same run again.
    #[must_use]
    pub fn with_adapter(self, mut adapter: AdapterPlan) -> Plan {
        let Self(mut plan) = self;
        let settings = &mut plan.settings;
        if settings.ranks.is_none() {
            adapter.ranks.fill(adapter.r);
            settings.r = Some(adapter.r);
        }
        if adapter.kind == AdapterKind::Lora {
            settings.rslora = Some(adapter.rank_stabilised);
            settings.lora_alpha = Some(adapter.lora_alpha);
        } else {
            // A PEFT folder has rsVeRA's scaling in its b.
            settings.rsvera = Some(false);
            settings.lora_alpha = None;
            settings.projection_prng_key = Some(adapter.projection_prng_key);
        }
        settings.target_modules = adapter.target_modules.clone();
        settings.fan_in_fan_out = Some(adapter.fan_in_fan_out);
        settings.layers_to_transform = adapter.layers_to_transform.clone();
        settings.layers_pattern = adapter.layers_pattern.clone();
        settings.bias = Some(adapter.bias);
        settings.modules_to_save = Some(adapter.modules_to_save.clone());
        plan.adapter = adapter;
        plan
    }
}

impl Plan {
    /// The adapter, with what the model decides. Where nothing was said, a draft has the layers that
    /// BERT adapts, and other encoders have others.
    pub(crate) fn adapter_on(&self, model: &dyn Architecture) -> AdapterPlan {
        let mut adapter = self.adapter.clone();
        if !self.origins.given("target_modules") {
            adapter.target_modules = None;
        }
        adapter.fill_in(model);
        adapter
    }

    /// The longest sequence, in tokens. Where nothing was said it is the task's, or the longest that
    /// the model takes.
    pub(crate) fn max_seq_length_on(&self, model: &dyn Architecture) -> u32 {
        let length = self.data.max_seq_length;
        match u32::try_from(model.max_tokens()) {
            Ok(most) if !self.origins.given("max_seq_length") => length.min(most),
            _ => length,
        }
    }
}

/// A run, decided: every number in it is in range, nothing in it contradicts anything else, and
/// nothing changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The run's name: the prefix of its folder and the label of its metrics.
    pub name: String,
    /// Folder for the results; `None`: one is made under `runs/`.
    pub out: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// Federated rounds, at least 1.
    pub rounds: u32,
    /// Evaluate after every N rounds, and after the last.
    pub eval_every: u32,
    /// Whether each client is trained alone afterwards.
    pub local_baseline: bool,
    /// Whether the last model predicts the test split, or writes its texts.
    pub predict: bool,
    /// The task and who gets which of its examples.
    pub data: DataPlan,
    /// The pretrained model.
    pub model: ModelPlan,
    /// The adapter trained on it.
    pub adapter: AdapterPlan,
    /// The aggregation of the updates.
    pub aggregation: AggregationPlan,
    /// The local training of a client in a round.
    pub training: TrainingPlan,
    /// How and when texts are written; `None`: the task has none.
    pub generation: Option<GenerationPlan>,
    /// The devices in use.
    pub devices: DevicesPlan,
    /// The clients' resources, the faults, and how rounds handle them.
    pub simulation: SimulationPlan,
    /// Telemetry: metrics, live page and logs.
    pub telemetry: TelemetryPlan,
    /// The address to steer the run from; `None`: off.
    pub control: Option<SocketAddr>,
    /// All settings, with the defaults filled in. `out` is omitted, so that running them again
    /// does not meet the folder of the run they come from.
    pub settings: Settings,
    /// The tables of the scenario file.
    pub tables: ScenarioTables,
    /// The origins of the settings, for errors found later.
    pub origins: Origins,
}

impl Plan {
    /// A collector for what later stages find wrong with the plan's files.
    #[must_use]
    pub fn problems(&self) -> Problems {
        Problems::new(self.origins.clone())
    }

    /// The scenario that gives this plan again, as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        crate::config::scenario::to_toml(&self.settings, &self.tables)
    }
}

/// The task, its examples and their division among clients.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPlan {
    /// The task.
    pub task: SharedTask,
    /// The location of its examples.
    pub source: DataSource,
    /// Longest sequence, in tokens.
    pub max_seq_length: u32,
    /// The partition of examples among clients.
    pub partition: Partition,
    /// Number of clients, at least 1.
    pub num_clients: u32,
    /// Only the first N training examples.
    pub limit_train: Option<u64>,
    /// Only the first N validation examples.
    pub limit_eval: Option<u64>,
    /// Predict only the first N examples of each test split.
    pub limit_test: Option<u64>,
    /// What the user is to know of choices that were made where nothing was said.
    pub notices: Vec<String>,
}

/// The location of a task's examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// A folder that holds the tasks' folders.
    Folder(PathBuf),
    /// The Hugging Face hub.
    Hub,
}

/// The pretrained model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// Where it comes from.
    pub source: ModelSource,
    /// What the frozen weights of its layers are held in.
    pub base_precision: BasePrecision,
    /// Hidden and attention dropout; `None`: as `config.json` says.
    pub dropout: Option<f64>,
    /// A tokenizer.json to be used in the place of the model's own.
    pub tokenizer: Option<PathBuf>,
    /// A PEFT folder to start from.
    pub init_adapter: Option<PathBuf>,
}

/// The devices of the server and the clients' lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicesPlan {
    /// The server's device.
    pub server: DeviceSpec,
    /// Which instructions libraries compute with.
    pub numerics: Numerics,
    /// The lanes, at least 1 and at most one per client. Where there is one per client, client i
    /// has lane i for its own; otherwise they take turns.
    pub lanes: Vec<LaneSpec>,
    /// What the user is to know of the choice: requested GPUs that are missing, numbers that the
    /// processor does not multiply.
    pub notices: Vec<String>,
    /// Why the run is not to be begun here: it asks for GPUs, and those that there are cannot be used.
    pub refusal: Option<String>,
    /// The GPUs of `server` and `lanes`.
    pub gpus: Vec<CudaGpu>,
}

impl DevicesPlan {
    /// The number format of all devices of the run where `precision` leaves it to them: that of the
    /// least of the GPUs, so that no update depends on which of them trained it.
    #[must_use]
    pub fn precision(&self, precision: Precision) -> Precision {
        match precision {
            Precision::Auto => {
                Precision::for_capabilities(self.gpus.iter().map(|gpu| gpu.capability))
            }
            given => given,
        }
    }
}

/// The simulation, in the form that the actors take.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationPlan {
    /// Each client's means.
    pub profiles: Vec<Profile>,
    /// The scripted faults.
    pub faults: Vec<Fault>,
    /// The condition that ends a round.
    pub policy: RoundPolicy,
    /// The selection of clients for a round.
    pub sampling: Sampling,
    /// The policy for rounds with too few updates.
    pub too_few: MinUpdates,
    /// The restart policy for clients that fail.
    pub restart: RestartPolicy,
    /// The checkpoint policy.
    pub checkpoints: CheckpointPolicy,
    /// The clock in use.
    pub clock: ClockMode,
    /// Wall time without progress after which a lane is reported; `None`: never.
    pub watchdog: Option<Duration>,
}

/// Telemetry of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPlan {
    /// Whether the ledger is kept.
    pub ledger: bool,
    /// The address that serves metrics; `None`: off.
    pub metrics: Option<SocketAddr>,
    /// The address that serves the live page; `None`: off.
    pub web: Option<SocketAddr>,
    /// The time for which both are served after the end.
    pub linger: Duration,
    /// The maximum number of clients with separate metrics.
    pub client_series: u32,
    /// Whether event files for TensorBoard are written.
    pub tensorboard: bool,
    /// No progress bars.
    pub quiet: bool,
}
