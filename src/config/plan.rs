//! What a run is to do, fully decided and checked: what the rest of the program takes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regatta_actors::plan::fault::Fault;
use regatta_actors::plan::policy::{MinUpdates, RoundPolicy};
use regatta_actors::plan::profile::Profile;
use regatta_actors::plan::restart::RestartPolicy;
use regatta_actors::plan::sampling::Sampling;
use regatta_actors::plan::{CheckpointPolicy, ClockMode};

use crate::config::problems::{Origins, Problems};
use crate::config::settings::{AdapterKind, Bias, Method, Precision, Settings, Weighting};
use crate::config::tables::ScenarioTables;
use crate::data::partition::spec::Partition;
use crate::model::source::architecture::Architecture;
use crate::tasks::glue::task::Task;

/// A run, decided. Made by [`crate::config::load`]; every number in it is in range and nothing in it
/// contradicts anything else.
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
    /// Evaluate after every so many rounds, and after the last.
    pub eval_every: u32,
    /// The task and who gets which of its examples.
    pub data: DataPlan,
    /// The pretrained model.
    pub model: ModelPlan,
    /// What is trained beside it.
    pub adapter: AdapterPlan,
    /// What the server does with the updates.
    pub aggregation: AggregationPlan,
    /// What a client does in a round.
    pub training: TrainingPlan,
    /// Where everything runs.
    pub devices: DevicesPlan,
    /// Who takes part with which means, what goes wrong, and how rounds deal with it.
    pub simulation: SimulationPlan,
    /// What can be seen while it runs.
    pub telemetry: TelemetryPlan,
    /// Where the run can be steered from; `None`: nowhere.
    pub control: Option<SocketAddr>,
    /// All settings, with the defaults filled in. `out` is left away, so that running them again
    /// does not meet the folder of the run they come from.
    pub settings: Settings,
    /// The tables of the scenario file.
    pub script: ScenarioTables,
    /// Where the settings come from, for errors found later.
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
        crate::config::scenario::to_toml(&self.settings, &self.script)
    }
}

/// The task, its examples and their division among clients.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPlan {
    /// The GLUE task.
    pub task: Task,
    /// Where its examples are.
    pub source: DataSource,
    /// Longest sequence, in tokens.
    pub max_seq_length: u32,
    /// How examples are dealt out to the clients.
    pub partition: Partition,
    /// Number of clients, at least 1.
    pub num_clients: u32,
    /// Only the first so many training examples.
    pub limit_train: Option<u64>,
    /// Only the first so many validation examples.
    pub limit_eval: Option<u64>,
}

/// Where a task's examples are.
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
    /// Where it is.
    pub source: ModelSource,
    /// Hidden and attention dropout; `None`: as `config.json` says.
    pub dropout: Option<f64>,
    /// A PEFT folder to start from.
    pub init_adapter: Option<PathBuf>,
}

/// What a model's name begins with when its weights are to be drawn.
pub const RANDOM: &str = "random:";

/// Where a pretrained model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder as the Hugging Face hub makes it.
    Folder(PathBuf),
    /// A repository of the Hugging Face hub.
    Hub(String),
    /// None: weights drawn from the run's seed.
    Random {
        /// The architecture.
        architecture: Architecture,
        /// A `tokenizer.json`.
        tokenizer: PathBuf,
    },
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub(name) => f.write_str(name),
            Self::Random { architecture, .. } => write!(f, "{RANDOM}{architecture}"),
        }
    }
}

/// The rank and alpha of a layer's LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRank {
    /// The rank, at least 1.
    pub r: u32,
    /// Alpha of the scaling.
    pub alpha: f64,
}

/// The adapter. A field that has no meaning for `kind` holds its default.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterPlan {
    /// How ΔW is parametrised.
    pub kind: AdapterKind,
    /// The rank, at least 1; of the server's adapter where the clients' differ.
    pub r: u32,
    /// Each client's rank.
    pub ranks: Vec<u32>,
    /// Layers whose rank or alpha is another, by module; only a LoRA folder that a run starts from
    /// has any.
    pub layer_ranks: BTreeMap<String, LayerRank>,
    /// Alpha of the scaling.
    pub lora_alpha: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Scale by α/√r (`rslora`, `rsvera`).
    pub rank_stabilised: bool,
    /// First value of VeRA's d and SORF-VeRA's m.
    pub d_initial: f64,
    /// Seed of the projections that VeRA and SORF-VeRA share over layers.
    pub projection_prng_key: u64,
    /// Whether the projections are saved with the adapter.
    pub save_projection: bool,
    /// Seed of SORF-VeRA's orthogonal matrices.
    pub sorf_seed: u64,
    /// Whether it starts at zero; else at random.
    pub init_weights: bool,
    /// Names of the adapted layers.
    pub target_modules: Vec<String>,
    /// Encoder layers that are adapted; `None`: all.
    pub layers_to_transform: Option<Vec<u32>>,
    /// Name before the number in the layers' names; `None`: `layer`.
    pub layers_pattern: Option<String>,
    /// Always false: no encoder here stores its weights as (in, out).
    pub fan_in_fan_out: bool,
    /// Biases that are trained.
    pub bias: Bias,
    /// Modules trained in full beside the classification head.
    pub modules_to_save: Vec<String>,
}

impl AdapterPlan {
    /// An adapter of rank r on query and value, without dropout: what measurements train.
    #[must_use]
    pub fn plain(kind: AdapterKind, r: u32) -> Self {
        Self {
            kind,
            r,
            ranks: Vec::new(),
            layer_ranks: BTreeMap::new(),
            lora_alpha: 8.0,
            dropout: 0.0,
            rank_stabilised: false,
            d_initial: 0.1,
            projection_prng_key: 0,
            save_projection: true,
            sorf_seed: 0,
            init_weights: true,
            target_modules: vec!["query".into(), "value".into()],
            layers_to_transform: None,
            layers_pattern: None,
            fan_in_fan_out: false,
            bias: Bias::None,
            modules_to_save: Vec::new(),
        }
    }

    /// The factor s on ΔW for an adapter of this rank (MATH: α/r, α/√r, or 1 for VeRA's kinds).
    #[must_use]
    pub fn scaling(&self, rank: u32) -> f64 {
        let rank = f64::from(rank);
        match (self.kind, self.rank_stabilised) {
            (AdapterKind::Lora, false) => self.lora_alpha / rank,
            (AdapterKind::Lora | AdapterKind::Vera, true) => self.lora_alpha / rank.sqrt(),
            (AdapterKind::Vera, false) | (AdapterKind::SorfVera, _) => 1.0,
        }
    }
}

/// What the server does with the updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AggregationPlan {
    /// How updates are aggregated.
    pub method: Method,
    /// Scale the residual by the learning rate rather than by the adapter's scaling.
    pub vera_scale: bool,
    /// What each weighs.
    pub weighting: Weighting,
    /// Updates of a larger norm are refused; see [`crate::aggregate::sound::update_norm`].
    pub max_update_norm: Option<f64>,
}

/// What a client does in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingPlan {
    /// Passes over its shard.
    pub local_epochs: u32,
    /// Examples in a batch.
    pub batch_size: u32,
    /// Examples in a batch of evaluation.
    pub eval_batch_size: u32,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the steps in which the learning rate warms up.
    pub warmup_ratio: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Whether examples are shuffled each epoch.
    pub shuffle: bool,
    /// Number format.
    pub precision: Precision,
}

/// A device of libtorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by its number.
    Cuda(u32),
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl From<DeviceSpec> for tch::Device {
    fn from(device: DeviceSpec) -> Self {
        match device {
            DeviceSpec::Cpu => Self::Cpu,
            DeviceSpec::Cuda(number) => Self::Cuda(number as usize),
        }
    }
}

/// Where the server and the clients' lanes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicesPlan {
    /// The server's device.
    pub server: DeviceSpec,
    /// The lanes, at least 1 and at most one per client. Where there is one per client, client i
    /// has lane i for its own; otherwise they take turns.
    pub lanes: Vec<LaneSpec>,
    /// What the user should know about the choice: GPUs that were asked for and are not there.
    pub notice: Option<String>,
}

/// One lane: a thread that trains clients on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpec {
    /// Its device.
    pub device: DeviceSpec,
    /// Threads that one operation may use on the CPU.
    pub threads: u32,
}

/// What happens on the way, as the actors take it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationPlan {
    /// Each client's means.
    pub profiles: Vec<Profile>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// When a round is over.
    pub policy: RoundPolicy,
    /// Whom a round asks.
    pub sampling: Sampling,
    /// What to do with a round in which too few updates come.
    pub too_few: MinUpdates,
    /// How clients that fail come back.
    pub restart: RestartPolicy,
    /// When the run's state is saved.
    pub checkpoints: CheckpointPolicy,
    /// What time it is.
    pub clock: ClockMode,
    /// Wall time without progress after which a lane is reported; `None`: never.
    pub watchdog: Option<Duration>,
}

/// What can be seen of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPlan {
    /// Whether the ledger is kept.
    pub ledger: bool,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where the live page is served; `None`: nowhere.
    pub web: Option<SocketAddr>,
    /// How long both are served after the end.
    pub linger: Duration,
    /// At most so many clients have metrics of their own.
    pub client_series: u32,
    /// Whether event files for TensorBoard are written.
    pub tensorboard: bool,
    /// No progress bars.
    pub quiet: bool,
}
