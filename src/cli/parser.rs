//! The command line as clap parses it, with one rule for all switches and whole numbers.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, Command as ClapCommand, CommandFactory, FromArgMatches};

use crate::cli::args::Cli;
use crate::cli::spelling::{normalise, not_text};
use crate::config::settings::MOST_WHOLE;

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
        argument.value_parser(clap::value_parser!(u64).range(..=MOST_WHOLE))
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
    use crate::cli::args::Command;
    use crate::config::settings::Settings;

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
        assert_eq!(args.scenario.scenario, Some("quickstart.toml".into()));
        assert_eq!(args.scenario.settings.vera, Some(true));
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
