//! Bad input, collected: every problem with the place it comes from, all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// The origin of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A scenario file; line and column count from 1.
    File {
        /// The file, as the user named it.
        path: PathBuf,
        /// Line of the value.
        line: usize,
        /// Column of the value, in characters.
        column: usize,
    },
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Environment(&'static str),
}

/// Where each setting comes from, with its value as it was written; unset ones are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, (Origin, String)>);

impl Origins {
    /// Notes where `key` was given and as what; a later note replaces an earlier one.
    pub fn note(&mut self, key: &str, origin: Origin, value: impl Into<String>) {
        self.0.insert(key.to_owned(), (origin, value.into()));
    }

    /// Whether the user gave this setting.
    #[must_use]
    pub fn given(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The setting and its place as the user would look for it.
    fn place(&self, key: &str) -> String {
        match self.0.get(key) {
            Some((Origin::File { path, line, column }, value)) => {
                let place = format!("{}:{line}:{column}: {key}", path.display());
                // A table has no value that could be shown in a line.
                if value.is_empty() {
                    place
                } else {
                    format!("{place} = {value}")
                }
            }
            Some((Origin::Flag, value)) => format!("--{key}={value}"),
            Some((Origin::Environment(name), value)) => format!("{name}={value}"),
            None => format!("{key} (not given)"),
        }
    }
}

/// One thing wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Option<Origin>,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Collects problems, so that the user hears of all at once. As an error, it lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    origins: Origins,
    found: Vec<Problem>,
    unreadable: BTreeSet<String>,
}

impl Problems {
    /// An empty collector that knows where the settings come from.
    #[must_use]
    pub fn new(origins: Origins) -> Self {
        Self {
            origins,
            ..Self::default()
        }
    }

    /// The origins of the settings.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    pub(crate) fn origins_mut(&mut self) -> &mut Origins {
        &mut self.origins
    }

    /// Reports a setting: what is `wrong` with it, and what would be `right`.
    pub fn report(&mut self, key: &str, wrong: impl fmt::Display, right: impl fmt::Display) {
        self.report_error(key, format_args!("{wrong}; {right}"));
    }

    /// Reports a setting with an error that says both what is wrong and what would be right.
    pub fn report_error(&mut self, key: &str, error: impl fmt::Display) {
        let origin = self.origins.0.get(key).map(|(origin, _)| origin.clone());
        let text = format!("{}: {error}", self.origins.place(key));
        self.found.push(Problem { origin, text });
    }

    /// Reports a setting unless `holds`.
    pub fn require(
        &mut self,
        holds: bool,
        key: &str,
        wrong: impl fmt::Display,
        right: impl fmt::Display,
    ) {
        if !holds {
            self.report(key, wrong, right);
        }
    }

    /// Reports a place in a scenario file that is not a known setting with a value of its type.
    pub(crate) fn report_at(&mut self, path: PathBuf, (line, column): (usize, usize), text: &str) {
        let text = format!("{}:{line}:{column}: {text}", path.display());
        self.found.push(Problem {
            origin: Some(Origin::File { path, line, column }),
            text,
        });
    }

    /// Reports input as a whole, such as a scenario file that is not there.
    pub fn report_input(&mut self, text: impl fmt::Display) {
        self.found.push(Problem {
            origin: None,
            text: text.to_string(),
        });
    }

    /// One input that is wrong.
    #[must_use]
    pub fn with_input(text: impl fmt::Display) -> Self {
        let mut problems = Self::default();
        problems.report_input(text);
        problems
    }

    /// Notes that a setting was given with an unreadable value, so that it is not checked further.
    pub(crate) fn note_unreadable(&mut self, key: &str) {
        self.unreadable.insert(key.to_owned());
    }

    /// Whether all of these settings, where given, could be read.
    pub(crate) fn readable(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.unreadable.contains(*key))
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, those of files first and in the files' order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut found: Vec<_> = self.found.iter().collect();
        found.sort_by_key(|problem| (problem.origin.is_none(), problem.origin.clone()));
        found
    }

    /// The value when nothing was reported, otherwise the problems.
    ///
    /// # Errors
    /// If anything was reported.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.sorted().into_iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}error: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_the_file_then_flags() {
        let mut origins = Origins::default();
        let at = |line| Origin::File {
            path: "s.toml".into(),
            line,
            column: 5,
        };
        origins.note("r", at(9), "0");
        origins.note("lr", at(2), "-1.0");
        origins.note("rounds", Origin::Flag, "0");
        let mut problems = Problems::new(origins);
        problems.report("rounds", "nothing to do", "give 1 or more");
        problems.report("r", "no rank", "give 1 or more");
        problems.report("lr", "negative", "give more than 0");
        assert_eq!(
            problems.to_string(),
            "error: s.toml:2:5: lr = -1.0: negative; give more than 0\n\
             error: s.toml:9:5: r = 0: no rank; give 1 or more\n\
             error: --rounds=0: nothing to do; give 1 or more"
        );
    }
}
