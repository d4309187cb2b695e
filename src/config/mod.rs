//! From flags and a scenario file to a plan, in two typed stages.
//!
//! [`Settings`] is what the user gives: each setting declared once, as a flag and a TOML key at
//! the same time. [`load`] lays the flags over the file, fills in the defaults and checks
//! everything; the result is a [`PlanDraft`], or [`Problems`] with every error and its place.
//! A scenario file also has tables, the [`tables::ScenarioTables`].

pub(crate) mod declare;
pub mod fingerprint;
pub mod plan;
pub mod problems;
pub(crate) mod range;
pub(crate) mod resolve;
pub(crate) mod scenario;
pub mod schema;
pub(crate) mod setting;
pub mod settings;
pub mod tables;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use crate::base::machine::Host;
use crate::config::plan::PlanDraft;
use crate::config::problems::{Origin, Problems};
use crate::config::setting::flag_value;
use crate::config::settings::Settings;
use crate::config::tables::ScenarioTables;
use crate::config::tables::task::{TaskTable, TextList};
use crate::data::formats::records::RecordFormat;
use crate::tasks::{SharedTask, registry};

/// The value of `data` that stands for the hub.
pub const HUB: &str = "hub";

/// The address at which `regatta ctl` looks for a run.
pub const CONTROL: &str = "127.0.0.1:9465";

/// What is wrong with a path that stands in a run's settings, and what would be right.
pub(crate) const NO_TEXT: &str = "not UTF-8, which the recorded settings require; rename it, or \
                                  use a symbolic link with a UTF-8 name";

/// Reads the scenario file, lays the flags over it, and decides everything for this machine.
///
/// Paths are taken from the current directory, also those in the file. The files of the model and
/// the data are not read, except for the labels of a task on the user's own files that names none;
/// what is wrong with files is reported later, through [`Plan::problems`](plan::Plan::problems).
///
/// # Errors
/// Everything that is wrong with the input, each with its place.
pub fn load(
    scenario: Option<&Path>,
    flags: &Settings,
    machine: &Host,
) -> Result<PlanDraft, Problems> {
    let mut problems = Problems::default();
    let Some((table, tables)) = scenario.map_or_else(
        || Some((toml::Table::new(), ScenarioTables::default())),
        |path| scenario::read(path, &mut problems),
    ) else {
        return Err(problems);
    };
    let name = scenario.and_then(Path::file_stem);
    let name = name.map(|stem| stem.to_string_lossy());
    lay_over(table, tables, flags, name.as_deref(), machine, problems)
}

/// As [`load`], with tables in the place of a scenario.
///
/// # Errors
/// As [`load`].
pub fn load_over(
    tables: ScenarioTables,
    flags: &Settings,
    machine: &Host,
) -> Result<PlanDraft, Problems> {
    let settings = toml::Table::new();
    lay_over(settings, tables, flags, None, machine, Problems::default())
}

/// The task of a recorded scenario, of whatever version; `None` if there is no such task. Files are
/// not read.
#[must_use]
pub fn recorded_task(scenario: &toml::Table) -> Option<SharedTask> {
    match scenario.get(scenario::TASK)? {
        toml::Value::String(name) => registry::find(name).ok(),
        table => {
            let table: TaskTable = table.clone().try_into().ok()?;
            resolve::task::recorded(table)
        }
    }
}

/// Lays flags over settings and tables, and decides everything.
fn lay_over(
    mut table: toml::Table,
    mut tables: ScenarioTables,
    flags: &Settings,
    name: Option<&str>,
    machine: &Host,
    mut problems: Problems,
) -> Result<PlanDraft, Problems> {
    let (flags, out) = as_text(flags, &mut problems);
    let flags = scenario::checked_table(&flags).unwrap_or_else(|wrong| {
        problems.report_input(wrong);
        toml::Table::new()
    });
    for (key, value) in flags {
        let written = flag_value(&value);
        problems.origins_mut().note(&key, Origin::Flag, written);
        table.insert(key, value);
    }
    let mut settings = match table.try_into::<Settings>() {
        Ok(settings) => settings,
        Err(error) => {
            problems.report_input(error.message());
            return Err(problems);
        }
    };
    settings.out = out.or(settings.out);
    if tables.task.is_none() {
        match own_task(&mut settings, &mut problems) {
            Ok(task) => tables.task = task,
            Err(()) => return Err(problems),
        }
    }
    resolve::resolve(settings, tables, name, machine, problems).map(PlanDraft)
}

/// The table of a task where `task` names a file that describes one, or a file of examples; the
/// setting is then unset. What is the name of a task is not taken for a file's.
///
/// # Errors
/// If the file cannot be read; the error was reported.
fn own_task(settings: &mut Settings, problems: &mut Problems) -> Result<Option<TaskTable>, ()> {
    let Some(named) = settings.task.clone() else {
        return Ok(None);
    };
    let path = PathBuf::from(&named);
    let is_toml = path
        .extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("toml"));
    let is_file = is_toml || RecordFormat::of(&path).is_some();
    if registry::find(&named).is_ok() || !is_file {
        return Ok(None);
    }
    settings.task = None;
    match is_toml {
        true => scenario::read_task(&path, problems).map(Some).ok_or(()),
        false => Ok(Some(TaskTable {
            train: Some(TextList(vec![named])),
            ..TaskTable::default()
        })),
    }
}

/// The flags without values that are not UTF-8: what is recorded must be, and is reported
/// otherwise; `out`, which is not recorded, may be any path and stands apart.
fn as_text(flags: &Settings, problems: &mut Problems) -> (Settings, Option<PathBuf>) {
    let mut flags = flags.clone();
    let out = flags.out.take();
    if let Some(out) = &out {
        let written = out.to_string_lossy();
        problems.origins_mut().note("out", Origin::Flag, written);
    }
    let recorded = [
        ("tokenizer", &mut flags.tokenizer),
        ("init_adapter", &mut flags.init_adapter),
        ("meteor_jar", &mut flags.meteor_jar),
    ];
    for (key, slot) in recorded {
        if let Some(path) = slot.take_if(|path| path.to_str().is_none()) {
            let written = path.to_string_lossy();
            problems.origins_mut().note(key, Origin::Flag, written);
            problems.report_error(key, NO_TEXT);
        }
    }
    (flags, out)
}
