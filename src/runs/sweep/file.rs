//! A sweep file: which combinations of settings are to be run.
//!
//! ```toml
//! scenario = "scenarios/quickstart.toml"   # what all runs have in common
//! target = "accuracy=0.8"                  # for the comparison at the end
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

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::config::problems::Problems;
use crate::config::scenario::{did_you_mean, position, read_text, setting};

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
    /// What is varied in each combination, in order; no two are the same.
    pub combinations: Vec<Table>,
}

/// Keys at the top of a sweep file.
const KEYS: [&str; 8] = [
    "name", "scenario", "out", "target", "settings", "grid", "include", "exclude",
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
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => sweep.name = self.text_of(&value).unwrap_or_default(),
                "scenario" => sweep.scenario = self.text_of(&value).map(PathBuf::from),
                "out" => sweep.out = self.text_of(&value).map(PathBuf::from),
                "target" => sweep.target = self.text_of(&value),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::methods::METHODS;

    fn read_text(text: &str) -> Result<Sweep, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|problems| {
            let folder = format!("{}/", folder.path().display());
            problems.to_string().replace(&folder, "")
        })
    }

    #[test]
    fn a_grid_is_each_with_each_and_excluded_ones_are_left_out() {
        let sweep = read_text(
            "scenario = \"q.toml\"\n[settings]\nrounds = 2\n[grid]\nagg_type = [\"ours\", \
             \"ffa\"]\n\
             seed = [1, 2]\n[[include]]\nagg_type = \"flora\"\nranks = [[2, 4]]\n\
             [[exclude]]\nagg_type = \"ffa\"\nseed = 2\n",
        )
        .unwrap();
        let shown: Vec<String> = sweep
            .combinations
            .iter()
            .map(|table| toml::to_string(table).unwrap().replace('\n', " "))
            .collect();
        assert_eq!(
            shown,
            [
                "agg_type = \"fedex\" seed = 1 ",
                "agg_type = \"fedex\" seed = 2 ",
                "agg_type = \"ffa\" seed = 1 ",
                "agg_type = \"flora\" ranks = [2, 4] ",
            ]
        );
        assert_eq!(sweep.name, "s");
        assert_eq!(sweep.settings["rounds"].as_integer(), Some(2));
    }

    #[test]
    fn an_alias_of_a_method_is_its_name_in_a_grid_and_in_what_is_excluded() {
        for info in METHODS {
            for name in info.aliases.iter().chain([&info.name]) {
                let text = format!(
                    "[grid]\nagg_type = [\"{name}\", \"{}\"]\nseed = [1, 2]\n\
                     [[exclude]]\nagg_type = \"{name}\"\nseed = 2\n",
                    info.name
                );
                let sweep = read_text(&text).unwrap();
                assert_eq!(sweep.combinations.len(), 1, "{text}");
                let method = sweep.combinations[0]["agg_type"].as_str();
                assert_eq!(method, Some(info.name));
            }
        }
    }

    #[test]
    fn everything_wrong_is_reported_with_its_place() {
        let problems = read_text(
            "scenari = \"q.toml\"\n[grid]\nagg_typ = [\"ours\"]\nseed = [1, \"two\"]\n\
             name = \"mine\"\nr = []\n",
        )
        .unwrap_err();
        let lines: Vec<&str> = problems.lines().collect();
        let starts = [
            "error: s.toml:1:1: unknown key `scenari`; did you mean `scenario`?",
            "error: s.toml:2:",
            "error: s.toml:3:1: unknown key `agg_typ`; did you mean `agg_type`?",
            "error: s.toml:4:12: seed: invalid type: string \"two\", expected a whole number",
            "error: s.toml:5:1: `name` is given to each run by the sweep",
        ];
        assert_eq!(lines.len(), starts.len(), "{problems}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(
                line.starts_with(start),
                "{line:?} does not start with {start:?}"
            );
        }
    }

    #[test]
    fn what_excludes_nothing_and_what_runs_nothing_are_errors() {
        let excluded = read_text("[grid]\nseed = [1]\n[[exclude]]\nseed = 2\n").unwrap_err();
        assert!(
            excluded.contains("s.toml:3:1: this excludes nothing"),
            "{excluded}"
        );
        assert!(read_text("").unwrap_err().contains("nothing to run"));
        assert!(
            read_text("[grid]\nseed = [1\n")
                .unwrap_err()
                .contains("s.toml:")
        );
    }
}
