//! The command line: one file per subcommand.

pub mod args;
#[cfg(feature = "cluster")]
pub(crate) mod broker;
pub mod changed_settings;
pub(crate) mod check;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub mod cluster_args;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod ctl;
pub(crate) mod data;
pub(crate) mod doctor;
pub mod export;
pub(crate) mod generate;
pub(crate) mod interrupt;
pub(crate) mod man;
pub(crate) mod parser;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod services;
pub(crate) mod spelling;
pub(crate) mod sweep;
#[cfg(feature = "cluster")]
pub(crate) mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::base::torch;
use crate::cli::args::{Cli, Command};
use crate::config::problems::Problems;
use crate::live::control::client::RequestError;
use crate::live::log::LogFile;
use crate::live::{log, terminal};

/// Exit status for a run that failed.
const FAILURE: u8 = 1;
/// Exit status for input that is wrong; clap uses the same.
const BAD_INPUT: u8 = 2;
/// Exit status of a worker that heard no coordinator: later there may be one. sysexits.h has it.
#[cfg(feature = "cluster")]
const TRY_AGAIN: u8 = 75;
/// Exit status for a command to a run that may have heard it or not.
const NOT_CONFIRMED: u8 = 3;

/// Runs the program with a command line and says how it ended: 0; 1 for a failure; 2 for bad
/// input, before anything is trained; 3 for a command to a run that did not confirm it;
/// 75 for a worker that heard no coordinator for too long. (A second
/// Ctrl-C ends it with 130.)
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::from_args(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_INPUT));
        }
    };
    let log = match cli.log_file.as_deref().map(LogFile::open).transpose() {
        Ok(log) => log,
        Err(error) => {
            complain(format_args!(
                "error: --log_file: {error}; name a file that can be written"
            ));
            return ExitCode::from(BAD_INPUT);
        }
    };
    log::start(cli.verbose, || terminal::output::Stderr, log.clone());
    torch::error::log_panics();
    let done = match &cli.command {
        Command::Run(args) => run::run(args, log),
        #[cfg(feature = "cluster")]
        Command::Worker(args) => worker::worker(args),
        #[cfg(feature = "cluster")]
        Command::Broker(args) => broker::broker(args),
        Command::Check(args) => check::check(args),
        Command::Data(args) => data::data(args),
        Command::Resume(args) => run::resume(args, log),
        Command::Ctl(args) => ctl::ctl(args),
        Command::Replay(args) => replay::replay(args),
        Command::Report(args) => report::report(args),
        Command::Runs(args) => runs::runs(args),
        Command::Compare(args) => compare::compare(args),
        Command::Sweep(args) => sweep::sweep(args, log),
        Command::Schema => schema::schema(),
        Command::Export(args) => export::export(args),
        Command::Generate(args) => generate::generate(args),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => man::man(args),
        Command::Doctor(args) => doctor::doctor(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(failed(&error)),
    }
}

/// Prints an error on standard error and returns the exit status for it.
fn failed(error: &anyhow::Error) -> u8 {
    let Some(problems) = error.downcast_ref::<Problems>() else {
        complain(format_args!("error: {error:#}"));
        #[cfg(feature = "cluster")]
        if worker::may_pass(error) {
            return TRY_AGAIN;
        }
        return match error.downcast_ref() {
            Some(RequestError::NotConfirmed(..)) => NOT_CONFIRMED,
            _ => FAILURE,
        };
    };
    complain(problems);
    match problems.sorted().len() {
        1 => {}
        count => complain(format_args!("{count} errors; nothing was started")),
    }
    BAD_INPUT
}

/// Prints a line on standard error, whose reader may be gone with its terminal.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
