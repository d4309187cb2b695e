//! The command line as clap sees it.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::base::table::Format;
use crate::cli::export::ExportArgs;
use crate::cli::spelling::{normalise, not_text};
use crate::config;
use crate::config::settings::Settings;
use crate::live::control;
use crate::runs::compare::target::Target;

/// Federated fine-tuning of transformer encoders on GLUE, simulated: exact aggregation, scripted
/// faults, bit-for-bit replay.
#[derive(Debug, Parser)]
#[command(name = "regatta", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Log more: -v what happens, -vv every message (RUST_LOG chooses by module)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the log to this file as well, at least as -v shows it; SIGHUP opens it anew
    #[arg(long = "log_file", global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a federation: a scenario file, flags, or flags over a file
    Run(ScenarioArgs),
    /// Check a scenario and its files without running it
    Check(ScenarioArgs),
    /// Show what this machine has: libtorch, devices, data sets, models; or calibrate its lanes
    Doctor(DoctorArgs),
    /// Show a task's examples, and what each client gets of them
    Data(DataArgs),
    /// Go on with a run that was stopped or killed, from its last checkpoint
    Resume(ResumeArgs),
    /// Run again what a run's ledger has, and compare event by event
    Replay(ReplayArgs),
    /// Steer a run that was started with --control
    Ctl(CtlArgs),
    /// Show what happened to whom in a run, and write it down as a page with figures
    Report(ReportArgs),
    /// Run what a sweep file asks for: methods, seeds, settings, each with each
    Sweep(SweepArgs),
    /// Show runs side by side, those that differ in their seed alone as one group
    Compare(CompareArgs),
    /// List the runs in a folder
    Runs(RunsArgs),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
    /// Write a run's model in a form that other programs load
    Export(ExportArgs),
    /// Print what a shell needs to complete this command line
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of a subcommand
    Man(ManArgs),
}

/// Which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that loads what is printed
    pub shell: Shell,
}

/// Which page of the manual.
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
pub struct ScenarioArgs {
    /// Scenario file (TOML); its keys are named as the flags are
    pub scenario: Option<PathBuf>,
    /// The flags.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the doctor is to do beside looking.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Measure how lanes divide the cores best, and remember it for all runs on this machine
    /// [default: false]
    #[arg(long)]
    pub calibrate: Option<bool>,
    /// The model to train meanwhile: a snapshot's folder, or random:NAME
    /// [default: random:minilm-l6]
    #[arg(long, requires = "calibrate", value_name = "DIR|random:NAME")]
    pub model: Option<String>,
}

/// A scenario, and how to show its data.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Form of the tables
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// A run that goes on, and what is wanted of it.
#[derive(Debug, Args)]
pub struct CtlArgs {
    /// Where the run listens; the environment variable REGATTA_CONTROL_TOKEN holds its token
    #[arg(long, value_name = "ADDR", default_value = config::CONTROL)]
    pub control: String,
    /// Form of the table that status shows
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// What is wanted.
    #[command(subcommand)]
    pub ask: control::Ask,
}

/// Runs, and where their reports go.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ReportArgs {
    /// The runs' folders
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// File for the page; for one run only [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Folder for the figures as SVG and PNG; for one run only [default: RUN/figures]
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Form of the tables; given, no page and no figures are written but those asked for by name
    /// [default: table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// A sweep, and what is wanted of it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct SweepArgs {
    /// Sweep file (TOML): a scenario, and a grid of settings over it
    pub sweep: PathBuf,
    /// Carry out these runs alone, counted from 0, and compare nothing
    #[arg(long, value_name = "INDEX,…", value_delimiter = ',')]
    pub only: Option<Vec<usize>>,
    /// Run nothing; write the script by which Slurm runs the sweep as an array. Of more runs than
    /// the cluster's MaxArraySize allows, each task takes several
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub slurm: Option<PathBuf>,
    /// Of the array's tasks, Slurm runs at most N at once [default: no bound]
    #[arg(long, value_name = "N", requires = "slurm")]
    pub slurm_at_most: Option<NonZeroU32>,
}

/// Runs, and how to compare them.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct CompareArgs {
    /// The runs' folders
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Score to reach, whose rounds and virtual time are counted [default: the best value that all
    /// runs reach]
    #[arg(long, value_name = "SCORE=VALUE")]
    pub target: Option<Target>,
    /// File for a page with tables and charts
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Folder for the charts as SVG and PNG
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Form of the tables
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// A folder of runs.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The folder; sweeps in it are looked into
    #[arg(default_value = "runs")]
    pub dir: PathBuf,
    /// Form of the table
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// A run's folder, and where this process differs from the one that began it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ResumeArgs {
    /// The run's folder
    pub run: PathBuf,
    /// Clients that train at once; changes no result [default: as the run was begun]
    #[arg(long, value_name = "N")]
    pub lanes: Option<u32>,
    /// Address that serves metrics to Prometheus, or off [default: as the run was begun]
    #[arg(long, value_name = "ADDR|off")]
    pub metrics: Option<String>,
    /// Address that serves the live page, or off [default: as the run was begun]
    #[arg(long, value_name = "ADDR|off")]
    pub web: Option<String>,
    /// Address to steer the run from, or off [default: as the run was begun]
    #[arg(long, value_name = "ADDR|off")]
    pub control: Option<String>,
    /// Write event files for TensorBoard [default: as the run was begun]
    #[arg(long)]
    pub tensorboard: Option<bool>,
    /// Plain lines only: no progress bars [default: as the run was begun]
    #[arg(long)]
    pub quiet: Option<bool>,
}

/// A run's folder, and what to do with it.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct ReplayArgs {
    /// The run's folder
    pub run: PathBuf,
    /// Stop at the first event that differs and show both
    #[arg(long, required = true)]
    pub check: bool,
    /// Clients that train at once; changes no result [default: as the run was begun]
    #[arg(long, value_name = "N")]
    pub lanes: Option<u32>,
}

impl Cli {
    /// Parses a command line; the first argument is the program's name.
    ///
    /// # Errors
    /// clap's, which knows how to print itself; asking for help is one of them.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = command();
        let args = normalise(args, &switches(&command));
        let matches = command.try_get_matches_from_mut(&args);
        let matches = matches.map_err(|error| match error.kind() {
            ErrorKind::InvalidUtf8 => not_text(&mut command, &args).unwrap_or(error),
            _ => error,
        })?;
        Self::from_arg_matches(&matches)
    }
}

/// The command line, with one rule for all switches: `--flag`, `--flag=true`, `--flag=false`.
pub(crate) fn command() -> ClapCommand {
    let command = Cli::command().mut_subcommands(|subcommand| subcommand.mut_args(refine));
    let names: Vec<_> = command
        .get_subcommands()
        .map(|s| s.get_name().to_owned())
        .collect();
    let page = |argument: Arg| argument.value_parser(PossibleValuesParser::new(&names));
    command.mut_subcommand("man", |man| man.mut_arg("subcommand", page))
}

fn refine(argument: Arg) -> Arg {
    let is = |id: TypeId| argument.get_value_parser().type_id() == id;
    if is(TypeId::of::<bool>()) {
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_possible_values(true)
            .value_parser(BoolishValueParser::new())
    } else if is(TypeId::of::<u64>()) {
        // TOML's integers end there, and a resolved scenario is TOML.
        argument.value_parser(clap::value_parser!(u64).range(..=i64::MAX as u64))
    } else {
        argument
    }
}

/// The flags that are switches.
fn switches(command: &ClapCommand) -> BTreeSet<String> {
    command
        .get_subcommands()
        .flat_map(ClapCommand::get_arguments)
        .filter(|argument| argument.is_require_equals_set())
        .map(|argument| format!("--{}", argument.get_id()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str) -> Settings {
        let args = format!("regatta check {line}");
        let cli = Cli::from_args(args.split_whitespace().map(OsString::from)).unwrap();
        match cli.command {
            Command::Check(args) => args.settings,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn dashes_and_underscores_spell_the_same_flag() {
        assert_eq!(
            settings("--agg_type=ffa --num_clients 4"),
            settings("--agg-type ffa --num-clients=4")
        );
    }

    #[test]
    fn a_dash_in_a_value_stays() {
        assert_eq!(
            settings("--model=roberta-base").model.as_deref(),
            Some("roberta-base")
        );
    }

    #[test]
    fn a_switch_stands_alone_or_takes_a_value() {
        let value = |line| settings(line).save_projection;
        assert_eq!(value(""), None);
        assert_eq!(value("--save_projection"), Some(true));
        assert_eq!(value("--save-projection=false"), Some(false));
        assert_eq!(value("--save_projection True --rounds 2"), Some(true));
        assert_eq!(settings("--vera --rounds 2").rounds, Some(2));
    }

    #[test]
    fn a_switch_leaves_the_scenario_alone() {
        let args = ["regatta", "run", "--vera", "quickstart.toml"].map(OsString::from);
        let Command::Run(args) = Cli::from_args(args).unwrap().command else {
            panic!("not a run");
        };
        assert_eq!(args.scenario, Some("quickstart.toml".into()));
        assert_eq!(args.settings.vera, Some(true));
    }

    #[test]
    fn lists_are_separated_by_commas() {
        assert_eq!(
            settings("--client_gpus 1,2,3").client_gpus,
            Some(vec![1, 2, 3])
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
