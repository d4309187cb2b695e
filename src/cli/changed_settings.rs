//! The flags of `regatta resume`: the settings in which it may differ from the original run.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::settings::{ALL, Settings, with_default};

/// Settings that a run may be resumed with, set where they differ from the original run's.
#[derive(Debug, Clone)]
pub struct ChangedSettings(pub Settings);

impl Args for ChangedSettings {
    fn augment_args(command: Command) -> Command {
        let all = Settings::augment_args(Command::new("settings"));
        let flags = all.get_arguments().filter(|flag| {
            let setting = Settings::find(flag.get_id().as_str());
            setting.is_some_and(|setting| setting.facts().on_resume)
        });
        let flags = flags.map(|flag| {
            let flag = flag.clone().help_heading(None::<&str>).display_order(None);
            with_default(flag, "as in the original run")
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ChangedSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut changed = Self(Settings::default());
        changed.update_from_arg_matches(matches)?;
        Ok(changed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in ALL.iter().filter(|setting| setting.facts().on_resume) {
            let read = setting.read_flag(matches, &mut self.0);
            read.map_err(|error| Error::raw(ErrorKind::ValueValidation, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(line: &str) -> Settings {
        let command = ChangedSettings::augment_args(Command::new("resume"));
        let matches = command.try_get_matches_from(line.split_whitespace());
        ChangedSettings::from_arg_matches(&matches.unwrap())
            .unwrap()
            .0
    }

    #[test]
    fn what_is_given_differs_and_everything_else_is_as_in_the_original_run() {
        assert_eq!(changed("resume"), Settings::default());
        let given = changed("resume --lanes 2 --metrics off --quiet true");
        let expected = Settings {
            lanes: Some(2),
            metrics: Some("off".into()),
            quiet: Some(true),
            ..Settings::default()
        };
        assert_eq!(given, expected);
    }

    #[test]
    fn what_changes_results_is_not_a_flag() {
        let command = ChangedSettings::augment_args(Command::new("resume"));
        let result = command.try_get_matches_from(["resume", "--lr", "0.5"]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnknownArgument);
    }
}
