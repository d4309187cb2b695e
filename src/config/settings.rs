//! Every setting, declared once: the flag of the command line and the key of a scenario file.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapter::settings::{AdapterKind, Bias};
use crate::aggregate::settings::{MethodName, Weighting};
use crate::train::settings::Precision;

const DATA: &str = "Data";
const MODEL: &str = "Model";
const ADAPTER: &str = "Adapter";
const AGGREGATION: &str = "Aggregation";
const TRAINING: &str = "Training";
pub(crate) const DEVICES: &str = "Devices";
const SIMULATION: &str = "Simulation";
pub(crate) const OUTPUT: &str = "Output";

/// The largest whole number that TOML has, in which settings are recorded.
pub(crate) const MOST_WHOLE: u64 = i64::MAX as u64;

/// Reads a whole number that can be recorded.
fn whole() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=MOST_WHOLE)
}

/// The clock of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Clock {
    /// Derived from the scenario: replays to the bit.
    Virtual,
    /// The wall's, scaled.
    Wall,
}

/// The settings as given by the user: each is `None` until a scenario file or a flag sets it.
///
/// The flags are spelled as the fields are; `--agg_type` and `--agg-type` mean the same.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize, JsonSchema)]
#[command(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli [default: cola]
    #[arg(long, help_heading = DATA)]
    pub task: Option<String>,
    /// Folder with the tasks' folders, or `hub` [default: $REGATTA_DATA, else data/glue
    /// if it exists, else hub]
    #[arg(long, help_heading = DATA, value_name = "DIR")]
    pub data: Option<String>,
    /// Longest sequence in tokens; longer ones are truncated [default: 128]
    #[arg(long, help_heading = DATA, value_name = "N")]
    pub max_seq_length: Option<u32>,
    /// Partition of examples among clients: iid, contiguous, natural:COLUMN, dirichlet(ALPHA),
    /// quantity(ALPHA) or classes(K) [default: iid]
    #[arg(long, help_heading = DATA)]
    pub partition: Option<String>,
    /// Number of clients [default: 3]
    #[arg(long, help_heading = DATA, value_name = "N")]
    pub num_clients: Option<u32>,
    /// Take the first N training examples only [default: all]
    #[arg(long, help_heading = DATA, value_name = "N", value_parser = whole())]
    pub limit_train: Option<u64>,
    /// Take the first N validation examples only [default: all]
    #[arg(long, help_heading = DATA, value_name = "N", value_parser = whole())]
    pub limit_eval: Option<u64>,

    /// Folder of a Hugging Face snapshot, or a name on the hub; random:NAME or random:CONFIG.json
    /// draws the weights from the seed, where NAME is minilm-l6, bert-base, bert-large,
    /// distilroberta-base, roberta-base or roberta-large [default: roberta-base]
    #[arg(long, help_heading = MODEL, value_name = "DIR|NAME|random:NAME")]
    pub model: Option<String>,
    /// tokenizer.json for a random model [default: the model's own, if any]
    #[arg(long, help_heading = MODEL, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Dropout inside the frozen model (hidden and attention) [default: as the model's
    /// config.json says]
    #[arg(long, help_heading = MODEL, value_name = "P")]
    pub model_dropout: Option<f64>,
    /// Start from this PEFT adapter folder [default: a fresh adapter]
    #[arg(long, help_heading = MODEL, value_name = "DIR")]
    pub init_adapter: Option<PathBuf>,

    /// Kind of adapter [default: vera with --vera or fedex_vera, sorf_vera with its methods, else
    /// lora]
    #[arg(long, help_heading = ADAPTER, value_enum)]
    pub adapter: Option<AdapterKind>,
    /// Same as --adapter vera [default: false]
    #[arg(long, help_heading = ADAPTER)]
    pub vera: Option<bool>,
    /// Rank of the adapter [default: 4]
    #[arg(long, help_heading = ADAPTER, value_name = "RANK")]
    pub r: Option<u32>,
    /// Ranks of the clients' adapters, repeated in turn over the clients; flora only [default: r
    /// for each]
    #[arg(long, help_heading = ADAPTER, value_name = "RANK,…", value_delimiter = ',')]
    pub ranks: Option<Vec<u32>>,
    /// Alpha of the scaling alpha/r [default: 8]
    #[arg(long, help_heading = ADAPTER, value_name = "ALPHA")]
    pub lora_alpha: Option<f64>,
    /// Dropout on the input of a LoRA adapter [default: 0.1]
    #[arg(long, help_heading = ADAPTER, value_name = "P")]
    pub lora_dropout: Option<f64>,
    /// Scale LoRA by alpha/√r, not alpha/r [default: false]
    #[arg(long, help_heading = ADAPTER)]
    pub rslora: Option<bool>,
    /// First value of VeRA's d and of SORF-VeRA's m [default: 0.1]
    #[arg(long, help_heading = ADAPTER, value_name = "D", allow_negative_numbers = true)]
    pub d_initial: Option<f64>,
    /// Dropout on the input of a VeRA or SORF-VeRA adapter [default: 0]
    #[arg(long, help_heading = ADAPTER, value_name = "P")]
    pub vera_dropout: Option<f64>,
    /// Seed of the frozen projections that VeRA and SORF-VeRA share over layers [default: 0]
    #[arg(long, help_heading = ADAPTER, value_name = "SEED", value_parser = whole())]
    pub projection_prng_key: Option<u64>,
    /// Save these projections with the adapter [default: true]
    #[arg(long, help_heading = ADAPTER)]
    pub save_projection: Option<bool>,
    /// Scale VeRA by alpha/√r, not 1 [default: false]
    #[arg(long, help_heading = ADAPTER)]
    pub rsvera: Option<bool>,
    /// Seed of SORF-VeRA's orthogonal matrices [default: 0]
    #[arg(long, help_heading = ADAPTER, value_name = "SEED", value_parser = whole())]
    pub sorf_seed: Option<u64>,
    /// Initialise so that the adapter starts at zero; false: at random, for tests
    /// [default: true]
    #[arg(long, help_heading = ADAPTER)]
    pub init_weights: Option<bool>,
    /// Names of the layers to adapt [default: query,value]
    #[arg(long, help_heading = ADAPTER, value_name = "NAME,…", value_delimiter = ',')]
    pub target_modules: Option<Vec<String>>,
    /// Encoder layers to adapt, numbered from 0 [default: all]
    #[arg(long, help_heading = ADAPTER, value_name = "N,…", value_delimiter = ',')]
    pub layers_to_transform: Option<Vec<u32>>,
    /// Name before the number in the layers' names, for --layers_to_transform [default: layer]
    #[arg(long, help_heading = ADAPTER, value_name = "NAME")]
    pub layers_pattern: Option<String>,
    /// Adapted layers store weights as (in, out); the encoders here never do, so only false is
    /// possible [default: false]
    #[arg(long, help_heading = ADAPTER)]
    pub fan_in_fan_out: Option<bool>,
    /// Biases to train [default: none]
    #[arg(long, help_heading = ADAPTER, value_enum)]
    pub bias: Option<Bias>,
    /// Further modules to train and save in full, besides the classification head [default: no
    /// more]
    #[arg(long, help_heading = ADAPTER, value_name = "NAME,…", value_delimiter = ',')]
    pub modules_to_save: Option<Vec<String>>,

    /// Aggregation method [default: fedex with LoRA, fedex_vera with VeRA, sorf_vera_exact with
    /// SORF-VeRA]
    #[arg(long, help_heading = AGGREGATION)]
    pub agg_type: Option<MethodName>,
    /// Scale the residual of fedex_vera and sorf_vera_exact by the learning rate, not by the
    /// adapter's scaling; no longer exact [default: false]
    #[arg(long, help_heading = AGGREGATION)]
    pub vera_scale: Option<bool>,
    /// Weights of the updates [default: uniform]
    #[arg(long, help_heading = AGGREGATION, value_enum)]
    pub weighting: Option<Weighting>,
    /// Reject updates whose norm (of the scaled change of the adapted weights and of the change of
    /// everything else trained) exceeds N [default: no limit]
    #[arg(long, help_heading = AGGREGATION, value_name = "N")]
    pub max_update_norm: Option<f64>,

    /// Federated rounds [default: 50]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub rounds: Option<u32>,
    /// Epochs that a client trains over its shard in each round [default: 3]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub local_epochs: Option<u32>,
    /// Examples in a batch [default: 32]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub batch_size: Option<u32>,
    /// Peak learning rate [default: 0.001]
    #[arg(long, help_heading = TRAINING)]
    pub lr: Option<f64>,
    /// Share of a round's steps in which the learning rate warms up [default: 0.06]
    #[arg(long, help_heading = TRAINING, value_name = "SHARE")]
    pub warmup_ratio: Option<f64>,
    /// AdamW's weight decay [default: 0.01]
    #[arg(long, help_heading = TRAINING)]
    pub weight_decay: Option<f64>,
    /// Train on the examples in file order [default: false]
    #[arg(long, help_heading = TRAINING)]
    pub no_shuffle: Option<bool>,
    /// Number format [default: auto]
    #[arg(long, help_heading = TRAINING, value_enum)]
    pub precision: Option<Precision>,
    /// Examples in a batch of evaluation; another number may round scores differently [default: 16
    /// on CPU, 128 on a GPU]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub eval_batch_size: Option<u32>,
    /// Evaluate the global model every N rounds, and after the last [default: 1]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub eval_every: Option<u32>,
    /// Seed of all random draws [default: 42]
    #[arg(long, help_heading = TRAINING, value_parser = whole())]
    pub seed: Option<u64>,

    /// GPU of the server [default: 0 with CUDA, else the CPU]
    #[arg(long, help_heading = DEVICES, value_name = "GPU")]
    pub server_gpu: Option<u32>,
    /// GPUs of the clients, one lane each; more clients than lanes take turns [default: all]
    #[arg(long, help_heading = DEVICES, value_name = "GPU,…", value_delimiter = ',')]
    pub client_gpus: Option<Vec<u32>>,
    /// Train clients side by side; false: one after the other on one lane, with the same result
    /// [default: true]
    #[arg(long, help_heading = DEVICES)]
    pub parallel_clients: Option<bool>,
    /// Clients that train at once, at most one lane per client; several lanes per GPU share it in
    /// turn [default: one per client GPU; on CPU as many as have cores for their threads, and more
    /// where clients would be left over]
    #[arg(long, help_heading = DEVICES, value_name = "N")]
    pub lanes: Option<u32>,
    /// CPU threads per lane; another number may round differently [default: 1; on a CPU without
    /// --lanes, the result of `regatta doctor --calibrate`, if it was run]
    #[arg(long, help_heading = DEVICES, value_name = "N")]
    pub threads_per_lane: Option<u32>,
    /// Use the CPU even if CUDA is available [default: false]
    #[arg(long, help_heading = DEVICES)]
    pub cpu: Option<bool>,

    /// Clock: virtual, derived from the scenario, or wall, for demonstrations; a run on the wall
    /// clock does not replay [default: virtual]
    #[arg(long, help_heading = SIMULATION, value_enum)]
    pub clock: Option<Clock>,
    /// Seconds of the run per second of the wall, with --clock wall [default: 1]
    #[arg(long, help_heading = SIMULATION, value_name = "FACTOR")]
    pub clock_scale: Option<f64>,
    /// Save the run's state after every N rounds; 0: only on request [default: 1]
    #[arg(long, help_heading = SIMULATION, value_name = "N")]
    pub checkpoint_every: Option<u32>,
    /// Keep the last N checkpoints [default: 3]
    #[arg(long, help_heading = SIMULATION, value_name = "N")]
    pub keep_checkpoints: Option<u32>,
    /// Report a lane that has made no progress for this long on the wall's clock, or off
    /// [default: 10 min]
    #[arg(long, help_heading = SIMULATION, value_name = "DURATION|off")]
    pub watchdog: Option<String>,

    /// Name of the run [default: the scenario file's, else TASK-METHOD]
    #[arg(long, help_heading = OUTPUT)]
    pub name: Option<String>,
    /// Folder for the results, new or empty [default: runs/NAME-TIME]
    #[arg(long, help_heading = OUTPUT, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep the ledger, events.jsonl: about 500 bytes per client and round. Replay
    /// and report need it; without it a run can still be resumed [default: true]
    #[arg(long, help_heading = OUTPUT)]
    pub ledger: Option<bool>,
    /// Address that serves metrics to Prometheus, or off [default: 127.0.0.1:9464]
    #[arg(long, help_heading = OUTPUT, value_name = "ADDR|off")]
    pub metrics: Option<String>,
    /// Address that serves the live page, or off; if this one is taken, any free port
    /// [default: 127.0.0.1:9466]
    #[arg(long, help_heading = OUTPUT, value_name = "ADDR|off")]
    pub web: Option<String>,
    /// Serve metrics and page this long after the end, such as "30 s" [default: 0 s]
    #[arg(long, help_heading = OUTPUT, value_name = "DURATION")]
    pub metrics_linger: Option<String>,
    /// Metrics per client for up to N clients; for more, the N worst and quantiles [default: 100]
    #[arg(long, help_heading = OUTPUT, value_name = "N")]
    pub client_series: Option<u32>,
    /// Write event files for TensorBoard into the folder `tensorboard` of the results
    /// [default: false]
    #[arg(long, help_heading = OUTPUT)]
    pub tensorboard: Option<bool>,
    /// Address to steer the run from with `regatta ctl`, such as 127.0.0.1:9465; beyond loopback
    /// it requires a token in REGATTA_CONTROL_TOKEN [default: off]
    #[arg(long, help_heading = OUTPUT, value_name = "ADDR|off")]
    pub control: Option<String>,
    /// Plain lines only: no progress bars [default: false]
    #[arg(long, help_heading = OUTPUT)]
    pub quiet: Option<bool>,
}
