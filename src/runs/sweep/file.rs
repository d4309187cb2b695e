//! A sweep file: which combinations of settings are to be run.
//!
//! ```toml
//! scenario = "scenarios/quickstart.toml"   # what all runs have in common
//! target = "accuracy=0.8"                  # for the comparison at the end
//! paired = ["agg_type"]                    # as `regatta compare --paired` has it
//! reference = "fedit"                      # what pairs are compared with
//!
//! [settings]                               # over the scenario, in all runs
//! rounds = 3
//!
//! [grid]                                   # every combination
//! agg_type = ["fedit", "fedex", "ffa"]
//! seed = [1, 2, 3]
//!
//! [[include]]                              # further grids
//! agg_type = "fedex_vera"
//! seed = [1, 2, 3]
//!
//! [[exclude]]                              # combinations that are left out
//! agg_type = "ffa"
//! seed = 3
//! ```
//!
//! `[choose]` has one value of a setting chosen first: see [`super::choose`].

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::config::problems::Problems;
use crate::config::scenario::{did_you_mean, position, read_text, setting};
use crate::config::setting::flag_value;
use crate::config::settings::Settings;
use crate::runs::compare::paired::{METHOD, canonical};
use crate::runs::sweep::choose::{Choose, ValueChoice};

/// A sweep, as its file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep {
    /// Its name: the file's, unless it says another.
    pub name: String,
    /// The base scenario of every run.
    pub scenario: Option<PathBuf>,
    /// Folder of the runs; `None`: `runs/NAME`.
    pub out: Option<PathBuf>,
    /// The score to reach, as `regatta compare --target` takes it.
    pub target: Option<String>,
    /// Settings of every run.
    pub settings: Table,
    /// The settings by which runs are paired in the comparison, as `regatta compare --paired` takes
    /// them; `None`: they are not.
    pub paired: Option<Vec<String>>,
    /// What the others of a pair are compared with.
    pub reference: Option<String>,
    /// The setting of which one value is chosen by trials, if any.
    pub choose: Option<Choose>,
    /// The choices that are open, where there is such a setting.
    pub choices: Vec<ValueChoice>,
    /// What is varied in each combination, in order; no two are the same.
    pub combinations: Vec<Table>,
}

/// Keys at the top of a sweep file.
const KEYS: [&str; 11] = [
    "name",
    "scenario",
    "out",
    "target",
    "paired",
    "reference",
    "settings",
    "grid",
    "include",
    "exclude",
    "choose",
];

/// A setting and the values that it takes.
type Varied = (String, Vec<Value>);

/// Reads a sweep file.
///
/// # Errors
/// Everything that is wrong with it, each with its line and column.
pub fn read(path: &Path) -> Result<Sweep, Problems> {
    let mut problems = Problems::default();
    let Some(text) = read_text(path, "name a sweep file", &mut problems) else {
        return Err(problems);
    };
    let mut reader = SweepReader {
        path,
        text: &text,
        problems,
    };
    let sweep = match DeTable::parse(&text) {
        Ok(table) => reader.sweep(table.into_inner()),
        Err(error) => {
            let span = error.span().unwrap_or(text.len()..text.len());
            reader.report(span.start, error.message());
            Sweep::default()
        }
    };
    reader.problems.into_result(sweep)
}

struct SweepReader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Problems,
}

impl SweepReader<'_> {
    fn report(&mut self, offset: usize, wrong: &str) {
        let place = position(self.text, offset);
        let path = self.path.to_owned();
        self.problems.report_at(path, place, wrong);
    }

    fn sweep(&mut self, table: DeTable<'_>) -> Sweep {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy());
        let mut sweep = Sweep {
            name: stem.map_or_else(|| "sweep".to_owned(), Cow::into_owned),
            ..Sweep::default()
        };
        let (mut grids, mut excluded) = (Vec::new(), Vec::new());
        let (mut choose_at, mut reference_at) = (0, 0);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => sweep.name = self.text_of(&value).unwrap_or_default(),
                "scenario" => sweep.scenario = self.text_of(&value).map(PathBuf::from),
                "out" => sweep.out = self.text_of(&value).map(PathBuf::from),
                "target" => sweep.target = self.text_of(&value),
                "paired" => sweep.paired = self.settings_named(&value),
                "reference" => {
                    reference_at = value.span().start;
                    sweep.reference = self.text_of(&value);
                }
                "choose" => {
                    choose_at = value.span().start;
                    sweep.choose = self.choose(value);
                }
                "settings" => {
                    let fixed = self.axes(value, false);
                    let single = fixed
                        .into_iter()
                        .filter_map(|(k, mut v)| Some((k, v.pop()?)));
                    sweep.settings = single.collect();
                }
                "grid" => grids.insert(0, self.axes(value, true)),
                "include" => grids.extend(self.tables(value).into_iter().map(|(_, axes)| axes)),
                "exclude" => excluded = self.tables(value),
                other => {
                    let known = KEYS.map(str::to_owned).to_vec();
                    let hint = did_you_mean(other, known).map_or_else(
                        || format!("there are: {}", KEYS.join(", ")),
                        |hint| format!("did you mean `{hint}`?"),
                    );
                    self.report(key.span().start, &format!("unknown key `{other}`; {hint}"));
                }
            }
        }
        sweep.combinations = self.combine(&grids, &excluded);
        if sweep.combinations.is_empty() && self.problems.is_empty() {
            self.report(0, "nothing to run; give a [grid] of settings");
        }
        // Not only when everything has run, which is when it is needed.
        self.check_reference(&sweep, reference_at);
        if let Some(choose) = sweep.choose.as_ref().filter(|_| self.problems.is_empty()) {
            match choose.choices(&sweep.combinations) {
                Ok(choices) => sweep.choices = choices,
                Err(wrong) => self.report(choose_at, &wrong),
            }
        }
        sweep
    }

    fn text_of(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                self.report(value.span().start, "expected text in quotes");
                None
            }
        }
    }

    /// The name of a setting, or a list of them.
    fn settings_named(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
        let items: Vec<_> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut named = Vec::new();
        for item in items {
            let name = self.text_of(item)?;
            if Settings::find(&name).is_none() {
                let known = Settings::keys().map(str::to_owned).collect();
                let hint = did_you_mean(&name, known);
                let hint =
                    hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"));
                self.report(
                    item.span().start,
                    &format!("unknown setting `{name}`{hint}"),
                );
            }
            named.push(name);
        }
        Some(named)
    }

    /// Reports a reference that no combination has.
    fn check_reference(&mut self, sweep: &Sweep, at: usize) {
        let Some(reference) = &sweep.reference else {
            return;
        };
        let Some(paired) = &sweep.paired else {
            self.report(
                at,
                "name the settings that pairs may differ in: paired = [\"agg_type\"]",
            );
            return;
        };
        let setting = paired.first().map_or(METHOD, String::as_str);
        let values = sweep.combinations.iter().filter_map(|one| one.get(setting));
        let values: BTreeSet<String> = values.map(flag_value).collect();
        if !values.is_empty() && !values.contains(&canonical(setting, reference)) {
            let values: Vec<String> = values.into_iter().collect();
            let there_are = values.join(", ");
            let wrong = format!("no run has {setting} {reference}; there are: {there_are}");
            self.report(at, &wrong);
        }
    }

    /// What is to be chosen by trials.
    fn choose(&mut self, value: Spanned<DeValue<'_>>) -> Option<Choose> {
        let at = value.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            self.report(at, "expected a table, with `setting` and `seed`");
            return None;
        };
        let mut choose = Choose::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "setting" => choose.setting = self.text_of(&value)?,
                "score" => choose.score = Some(self.text_of(&value)?),
                "seed" => {
                    let seeds = DeTable::from_iter([(key, value)]);
                    let seeds = self.axes(Spanned::new(at..at, DeValue::Table(seeds)), true);
                    choose.seeds = seeds.into_iter().flat_map(|(_, seeds)| seeds).collect();
                }
                other => {
                    let wrong = format!("unknown key `{other}`; there are: setting, seed, score");
                    self.report(key.span().start, &wrong);
                }
            }
        }
        if choose.setting.is_empty() || choose.seeds.is_empty() {
            self.report(at, "give a `setting` to choose, and the trials' `seed`s");
            return None;
        }
        Some(choose)
    }

    /// An array of tables, each with its place.
    fn tables(&mut self, value: Spanned<DeValue<'_>>) -> Vec<(usize, Vec<Varied>)> {
        let at = value.span().start;
        let DeValue::Array(items) = value.into_inner() else {
            self.report(
                at,
                "expected tables; write it as [[include]] or [[exclude]]",
            );
            return Vec::new();
        };
        let read = |item: Spanned<DeValue<'_>>| (item.span().start, self.axes(item, true));
        items.into_iter().map(read).collect()
    }

    /// A table of settings. Where they are `varied`, a list holds the values that one takes in
    /// turn.
    fn axes(&mut self, value: Spanned<DeValue<'_>>, varied: bool) -> Vec<Varied> {
        let at = value.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            self.report(at, "expected a table of settings");
            return Vec::new();
        };
        let mut axes = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            if ["name", "out"].contains(&name.as_str()) {
                let wrong = format!("`{name}` is given to each run by the sweep; omit it");
                self.report(key.span().start, &wrong);
                continue;
            }
            let values = match value.get_ref() {
                DeValue::Array(items) if varied => items.iter().cloned().collect(),
                _ => vec![value],
            };
            if values.is_empty() {
                let wrong = format!("the list of `{name}` is empty; give it at least one value");
                self.report(at, &wrong);
            }
            let mut taken = Vec::new();
            for value in values {
                match setting(&key, &value) {
                    Ok(table) => taken.extend(table.into_iter().map(|(_, value)| value)),
                    Err((at, wrong)) => self.report(at, &wrong),
                }
            }
            // What is wrong has been reported; without values it would leave no combination.
            if !taken.is_empty() {
                axes.push((name, taken));
            }
        }
        axes
    }

    fn combine(&mut self, grids: &[Vec<Varied>], excluded: &[(usize, Vec<Varied>)]) -> Vec<Table> {
        let mut all: Vec<Table> = Vec::new();
        for grid in grids.iter().filter(|grid| !grid.is_empty()) {
            for combination in product(grid) {
                if !all.contains(&combination) {
                    all.push(combination);
                }
            }
        }
        for (at, pattern) in excluded {
            let before = all.len();
            all.retain(|combination| !matches(combination, pattern));
            if all.len() == before && self.problems.is_empty() {
                self.report(
                    *at,
                    "this excludes nothing; name settings and values of the grid",
                );
            }
        }
        all
    }
}

/// Each value with each.
fn product(grid: &[Varied]) -> Vec<Table> {
    let mut all = vec![Table::new()];
    for (key, values) in grid {
        let with = |table: &Table| -> Vec<Table> {
            let set = |value: &Value| {
                let mut table = table.clone();
                table.insert(key.clone(), value.clone());
                table
            };
            values.iter().map(set).collect()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

/// Whether a combination has one of the named values in every setting that is named.
fn matches(combination: &Table, pattern: &[Varied]) -> bool {
    let has = |(key, values): &Varied| combination.get(key).is_some_and(|v| values.contains(v));
    !pattern.is_empty() && pattern.iter().all(has)
}
