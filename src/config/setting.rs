//! What is declared of a setting, beside the field that holds it: its default, its range, and what
//! depends on it.
//!
//! Everything that has to know this reads the declaration: the help and the schema, the check of
//! ranges, the resolved settings, the fingerprint of a run and the flags of `regatta resume`.

use std::ops::Bound;

use clap::ArgMatches;
use clap::parser::MatchesError;
use serde::Serialize;

use crate::adapter::settings::AdapterKind;
use crate::config::range::{Range, SettingNumber};

/// What a setting means for the results of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It decides the results, or identifies the run.
    Results,
    /// It names a file, whose content decides the results, wherever the file is.
    File,
    /// It changes no bit of a result.
    Nothing,
}

/// What is known of a setting, whatever its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Its key in a scenario file and its flag without the dashes.
    pub(crate) key: &'static str,
    /// Another name for it.
    pub(crate) other_name: Option<&'static str>,
    /// Its effect on the results.
    pub(crate) effect: Effect,
    /// Whether a run may be resumed with another value.
    pub(crate) on_resume: bool,
    /// The adapters that it has a meaning with; `None`: any.
    pub(crate) adapters: Option<&'static [AdapterKind]>,
}

impl Facts {
    /// Whether the setting has a meaning with this kind of adapter.
    pub(crate) fn goes_with(&self, kind: AdapterKind) -> bool {
        self.adapters.is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// A setting of type `T`, a field of `S`. Its default is a value, `D = fn() -> T`, or a rule in
/// words, `D = &str`.
pub(crate) struct Setting<S, T, D> {
    pub(crate) facts: Facts,
    pub(crate) range: Range<T>,
    field: fn(&mut S) -> &mut Option<T>,
    default: D,
    bring_into_range: fn(&Self, &mut S) -> Result<(), String>,
}

/// What a declaration may say; see [`declare_settings`](crate::config::declare).
impl<S, T, D> Setting<S, T, D> {
    const fn new(key: &'static str, field: fn(&mut S) -> &mut Option<T>, default: D) -> Self {
        Self {
            facts: Facts {
                key,
                other_name: None,
                effect: Effect::Results,
                on_resume: false,
                adapters: None,
            },
            range: Range(Bound::Unbounded, Bound::Unbounded),
            field,
            default,
            bring_into_range: |_, _| Ok(()),
        }
    }

    /// It has another name too, which clap has to know as well.
    pub(crate) const fn also_called(mut self, name: &'static str) -> Self {
        self.facts.other_name = Some(name);
        self
    }

    /// It names a file.
    pub(crate) const fn names_file(mut self) -> Self {
        self.facts.effect = Effect::File;
        self
    }

    /// It changes no bit of a result.
    pub(crate) const fn same_results(mut self) -> Self {
        self.facts.effect = Effect::Nothing;
        self
    }

    /// A run may be resumed with another value.
    pub(crate) const fn on_resume(mut self) -> Self {
        self.facts.on_resume = true;
        self
    }

    /// It has a meaning with these adapters only.
    pub(crate) const fn only_with(mut self, kinds: &'static [AdapterKind]) -> Self {
        self.facts.adapters = Some(kinds);
        self
    }
}

impl<S, T> Setting<S, T, fn() -> T> {
    /// A setting that is `default` unless it is given.
    pub(crate) const fn default(
        key: &'static str,
        field: fn(&mut S) -> &mut Option<T>,
        default: fn() -> T,
    ) -> Self {
        Self::new(key, field, default)
    }

    /// The default.
    pub(crate) fn default_value(&self) -> T {
        (self.default)()
    }

    /// The value, or the default, to which the setting is then set.
    pub(crate) fn fill_in<'a>(&self, settings: &'a mut S) -> &'a mut T {
        (self.field)(settings).get_or_insert_with(self.default)
    }

    /// The value, or the default; the setting stays as it is.
    pub(crate) fn value_in(&self, settings: &mut S) -> T
    where
        T: Clone,
    {
        let given = (self.field)(settings).as_ref();
        given.map_or_else(self.default, T::clone)
    }
}

impl<S, T> Setting<S, T, &'static str> {
    /// A setting that stays unset unless it is given, or whose default follows from other things;
    /// `words` say what the default is.
    pub(crate) const fn default_in_words(
        key: &'static str,
        field: fn(&mut S) -> &mut Option<T>,
        words: &'static str,
    ) -> Self {
        Self::new(key, field, words)
    }
}

/// The range of a number.
impl<S, T: SettingNumber, D> Setting<S, T, D> {
    /// It is `least` or more.
    pub(crate) const fn from(self, least: T) -> Self {
        let most = self.range.1;
        self.within(Range(Bound::Included(least), most))
    }

    /// It is more than `bound`.
    pub(crate) const fn above(self, bound: T) -> Self {
        let most = self.range.1;
        self.within(Range(Bound::Excluded(bound), most))
    }

    /// It is `most` or less.
    pub(crate) const fn to(self, most: T) -> Self {
        let least = self.range.0;
        self.within(Range(least, Bound::Included(most)))
    }

    /// It is less than `bound`.
    pub(crate) const fn below(self, bound: T) -> Self {
        let least = self.range.0;
        self.within(Range(least, Bound::Excluded(bound)))
    }

    const fn within(mut self, range: Range<T>) -> Self {
        self.range = range;
        self.bring_into_range = Self::bring_number_into_range;
        self
    }

    fn bring_number_into_range(&self, settings: &mut S) -> Result<(), String> {
        match (self.field)(settings) {
            Some(value) if !self.range.contains(*value) => {
                *value = self.range.nearest(*value);
                Err(self.range.right())
            }
            _ => Ok(()),
        }
    }
}

/// A setting of any type.
pub(crate) trait AnySetting<S>: Sync {
    /// What is known of it.
    fn facts(&self) -> &Facts;

    /// Its default, as it would be written after the flag, or in words.
    fn default_text(&self) -> String;

    /// Brings its value into its range, so that nothing is made too large while further problems
    /// are looked for.
    ///
    /// # Errors
    /// If the value was out of range: what would be right.
    fn bring_into_range(&self, settings: &mut S) -> Result<(), String>;

    /// Sets it as its flag says. A flag with several values cannot be read.
    ///
    /// # Errors
    /// If the command has no such flag with a single value.
    fn read_flag(&self, matches: &ArgMatches, settings: &mut S) -> Result<(), MatchesError>;
}

impl<S, T, D> AnySetting<S> for Setting<S, T, D>
where
    T: Clone + Send + Sync + 'static,
    D: DefaultText + Sync,
{
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn default_text(&self) -> String {
        self.default.text()
    }

    fn bring_into_range(&self, settings: &mut S) -> Result<(), String> {
        (self.bring_into_range)(self, settings)
    }

    fn read_flag(&self, matches: &ArgMatches, settings: &mut S) -> Result<(), MatchesError> {
        *(self.field)(settings) = matches.try_get_one(self.facts.key)?.cloned();
        Ok(())
    }
}

/// A default as the help states it.
pub(crate) trait DefaultText {
    /// The text.
    fn text(&self) -> String;
}

impl<T: Serialize> DefaultText for fn() -> T {
    fn text(&self) -> String {
        let text = toml::Value::try_from(self()).map(|value| flag_value(&value));
        text.ok()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "none".to_owned())
    }
}

impl DefaultText for &'static str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

/// A value as it would be written after its flag.
pub(crate) fn flag_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Array(items) => items.iter().map(flag_value).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
