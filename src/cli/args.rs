//! The subcommands and their arguments.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::base::table::Format;
use crate::cli::changed_settings::{ChangedSettings, OfTexts, OnResume};
use crate::cli::cluster_args::ClusterArgs;
#[cfg(feature = "cluster")]
use crate::cli::cluster_args::{BrokerArgs, WorkerArgs};
use crate::config;
use crate::config::settings::{Settings, with_default};
use crate::live::control;
use crate::runs::compare::target::Target;

/// Federated fine-tuning of transformers, simulated: exact aggregation, scripted faults, bit-for-bit
/// replay.
#[derive(Debug, Parser)]
#[command(name = "regatta", version)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
    /// Log more: -v what happens, -vv every message (RUST_LOG chooses by module)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the log to this file as well, at least as -v shows it; SIGHUP reopens it
    #[arg(long = "log_file", global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a federation: a scenario file, flags, or flags over a file
    Run(RunArgs),
    /// Train for runs on other machines: one worker per host, any number, at any time
    #[cfg(feature = "cluster")]
    Worker(WorkerArgs),
    /// Run the message broker by which runs find workers on other machines
    #[cfg(feature = "cluster")]
    Broker(BrokerArgs),
    /// Check a scenario and its files without running it
    Check(ScenarioArgs),
    /// Check this machine: libtorch, devices, data sets, models; or calibrate its lanes
    Doctor(DoctorArgs),
    /// Show a task's examples and how they are split among clients
    Data(DataArgs),
    /// Resume a stopped or killed run from its last checkpoint
    Resume(ResumeArgs),
    /// Re-run a recorded run and compare it with its ledger, event by event
    Replay(ReplayArgs),
    /// Steer a run that was started with --control
    Ctl(CtlArgs),
    /// Summarise a run: participation, faults, costs; write an HTML report
    Report(ReportArgs),
    /// Run a sweep: every combination of the given methods, seeds and settings
    Sweep(SweepArgs),
    /// Compare runs side by side; runs that differ only in their seed form one group
    Compare(CompareArgs),
    /// List the runs in a folder
    Runs(RunsArgs),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
    /// Export the model of an ended run in a format that other programs can load
    Export(ExportArgs),
    /// Write texts with the model of an ended run
    Generate(GenerateArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of a subcommand
    Man(ManArgs),
}

/// The folder of a run.
#[derive(Debug, Args)]
pub struct RunArg {
    /// The run's folder
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
}

/// The folders of runs, and where a page and figures about them are written.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// The runs' folders
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// File for a page with tables and figures
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Folder for the figures as SVG and PNG
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
}

/// How tables are printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Format of the tables
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// The shell to complete for.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that loads what is printed
    pub shell: Shell,
}

/// The manual page to print.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The subcommand whose page is printed [default: the program's page]
    #[arg(hide_possible_values = true)]
    pub subcommand: Option<String>,
    /// Write all pages into this folder instead, as regatta.1, regatta-run.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    pub out: Option<PathBuf>,
}

/// A scenario file and flags that override it.
#[derive(Debug, Args)]
#[command(mut_args = Settings::state_default)]
pub struct ScenarioArgs {
    /// Scenario file (TOML); its keys are named as the flags are
    pub scenario: Option<PathBuf>,
    /// The flags.
    #[command(flatten)]
    pub settings: Settings,
}

/// A scenario, and where its clients are trained.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct RunArgs {
    /// The scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// The lanes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What the doctor does besides checking.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Measure how lanes divide the cores best, and remember it for all runs on this machine
    /// [default: false]
    #[arg(long)]
    pub calibrate: Option<bool>,
    /// The model to train for this: a snapshot folder, or random:NAME
    /// [default: random:minilm-l6]
    #[arg(long, requires = "calibrate", value_name = "DIR|random:NAME")]
    pub model: Option<String>,
}

/// A scenario and how to show its data.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Show the first N training examples too, as the model sees them: their tokens, which of them
    /// count in the loss, and whether something was cut
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show: usize,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A running run and the request to send it.
#[derive(Debug, Args)]
pub struct CtlArgs {
    /// Where the run listens; the environment variable REGATTA_CONTROL_TOKEN holds its token
    #[arg(long, value_name = "ADDR", default_value = config::CONTROL)]
    pub control: String,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The request.
    #[command(subcommand)]
    pub action: control::Action,
}

/// Runs, and where their reports go.
#[derive(Debug, Args)]
#[command(mut_arg("out", |out| with_default(out, "RUN/report.html; another only for one run")))]
#[command(mut_arg("figures", |folder| with_default(folder, "RUN/figures; another only for one run")))]
pub struct ReportArgs {
    /// The runs, and the place of page and figures.
    #[command(flatten)]
    pub page: PageArgs,
    /// Format of the tables; if given, only the page and figures named explicitly are written
    /// [default: table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// A sweep and how to run it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
#[cfg_attr(
    feature = "cluster",
    command(mut_arg("cluster", |cluster| cluster.conflicts_with("slurm")))
)]
pub struct SweepArgs {
    /// Sweep file (TOML): a scenario, and a grid of settings over it
    pub sweep: PathBuf,
    /// Run only these runs, counted from 0, without a comparison
    #[arg(long, value_name = "INDEX,…", value_delimiter = ',')]
    pub only: Option<Vec<usize>>,
    /// Run nothing; write a script that runs the sweep as a Slurm job array. With more runs than
    /// the cluster's MaxArraySize allows, each task takes several
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub slurm: Option<PathBuf>,
    /// Number of the array's tasks that Slurm runs at once, at most [default: unlimited]
    #[arg(long, value_name = "N", requires = "slurm")]
    pub slurm_at_most: Option<NonZeroU32>,
    /// The lanes of its runs, one run after the other.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Runs, and how to compare them.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The runs, and the place of page and charts.
    #[command(flatten)]
    pub page: PageArgs,
    /// Score to reach, whose rounds and virtual time are counted [default: the best value that all
    /// runs reach]
    #[arg(long, value_name = "SCORE=VALUE")]
    pub target: Option<Target>,
    /// Score to compare [default: that of --target, else the task's own]
    #[arg(long, value_name = "SCORE", conflicts_with = "target")]
    pub score: Option<String>,
    /// Compare runs of the same seed that agree in all settings but these with the reference: the
    /// mean difference of their last scores, its 95 % confidence interval and a sign test. The first
    /// of the settings is what is compared. Runs without a counterpart are listed
    /// [default without settings: agg_type]
    #[arg(
        long,
        value_name = "SETTING,…",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "agg_type"
    )]
    pub paired: Option<Vec<String>>,
    /// What the others are compared with, a value of the first setting of --paired [default: fedit
    /// among methods, else the value of the first run]
    #[arg(long, value_name = "VALUE", requires = "paired")]
    pub reference: Option<String>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A folder of runs.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The folder; sweeps in it are searched too
    #[arg(default_value = "runs")]
    pub dir: PathBuf,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A run folder, and the settings in which this process differs from the one that started it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ResumeArgs {
    /// The run.
    #[command(flatten)]
    pub run: RunArg,
    /// The settings.
    #[command(flatten)]
    pub changed: ChangedSettings<OnResume>,
    /// The lanes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// A run folder and what to do with it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ReplayArgs {
    /// The run.
    #[command(flatten)]
    pub run: RunArg,
    /// Stop at the first event that differs and show both
    #[arg(long, required = true)]
    pub check: bool,
    /// Clients that train at once; does not change results [default: as in the original run]
    #[arg(long, value_name = "N")]
    pub lanes: Option<u32>,
}

/// A run, and what its model is to read.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The run.
    #[command(flatten)]
    pub run: RunArg,
    /// What the model reads; can be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// A file with a prompt a line, after those of --prompt
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The model of the round that scored best, rather than the last [default: false]
    #[arg(long)]
    pub best: Option<bool>,
    /// Format of a table of prompts, texts and scores [default: none, one text a line]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// How texts are written.
    #[command(flatten)]
    pub texts: ChangedSettings<OfTexts>,
}

/// The forms that a model can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Files of Python's PEFT and transformers.
    Peft,
}

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run.
    #[command(flatten)]
    pub run: RunArg,
    /// Form to write the model in
    #[arg(long, value_enum, default_value = "peft")]
    pub format: ExportFormat,
    /// Folder to write, new or empty [default: RUN/peft, with --merge RUN/merged]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The model of the round that scored best, rather than the last [default: false]
    #[arg(long)]
    pub best: Option<bool>,
    /// The whole model with adapter and base delta merged, as a Hugging Face folder
    /// [default: false]
    #[arg(long)]
    pub merge: Option<bool>,
}
