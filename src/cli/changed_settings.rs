//! Flags of other commands than `regatta run`: some of the settings, which may differ from those of
//! the run that the command is about.

use std::marker::PhantomData;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::setting::Facts;
use crate::config::settings::{ALL, Settings, with_default};

/// Which settings may be changed.
pub(crate) trait Changeable {
    /// Whether this one may.
    fn is_one(facts: &Facts) -> bool;
}

/// What a run may be resumed with.
#[derive(Debug, Clone)]
pub struct OnResume;

impl Changeable for OnResume {
    fn is_one(facts: &Facts) -> bool {
        facts.on_resume
    }
}

/// How texts are written.
#[derive(Debug, Clone)]
pub struct OfTexts;

impl Changeable for OfTexts {
    fn is_one(facts: &Facts) -> bool {
        facts.of_texts
    }
}

/// Settings that are set where they differ from the run's.
#[derive(Debug, Clone)]
pub struct ChangedSettings<C>(pub Settings, PhantomData<C>);

impl<C: Changeable> Args for ChangedSettings<C> {
    fn augment_args(command: Command) -> Command {
        let all = Settings::augment_args(Command::new("settings"));
        let flags = all.get_arguments().filter(|flag| {
            let setting = Settings::find(flag.get_id().as_str());
            setting.is_some_and(|setting| C::is_one(setting.facts()))
        });
        let flags = flags.map(|flag| {
            let flag = flag.clone().help_heading(None::<&str>).display_order(None);
            with_default(flag, "as in the run")
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Changeable> FromArgMatches for ChangedSettings<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut changed = Self(Settings::default(), PhantomData);
        changed.update_from_arg_matches(matches)?;
        Ok(changed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in ALL.iter().filter(|setting| C::is_one(setting.facts())) {
            let read = setting.read_flag(matches, &mut self.0);
            read.map_err(|error| Error::raw(ErrorKind::ValueValidation, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed<C: Changeable>(line: &str) -> Settings {
        let command = ChangedSettings::<C>::augment_args(Command::new("resume"));
        let matches = command.try_get_matches_from(line.split_whitespace());
        ChangedSettings::<C>::from_arg_matches(&matches.unwrap())
            .unwrap()
            .0
    }

    #[test]
    fn what_is_given_differs_and_everything_else_is_as_in_the_original_run() {
        assert_eq!(changed::<OnResume>("resume"), Settings::default());
        let given = changed::<OnResume>("resume --lanes 2 --metrics off --quiet true");
        let expected = Settings {
            lanes: Some(2),
            metrics: Some("off".into()),
            quiet: Some(true),
            ..Settings::default()
        };
        assert_eq!(given, expected);
        let beams = Settings {
            num_beams: Some(4),
            ..Settings::default()
        };
        assert_eq!(changed::<OfTexts>("generate --num_beams 4"), beams);
    }

    #[test]
    fn what_changes_results_is_not_a_flag() {
        let command = ChangedSettings::<OnResume>::augment_args(Command::new("resume"));
        let result = command.try_get_matches_from(["resume", "--lr", "0.5"]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnknownArgument);
    }
}
