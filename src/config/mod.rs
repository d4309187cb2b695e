//! From flags and a scenario file to a [`Plan`], in two typed stages.
//!
//! [`Settings`] is what the user gives: each setting declared once, as a flag and a TOML key at
//! the same time. [`load`] lays the flags over the file, fills in the defaults and checks
//! everything; what comes out is a [`Plan`], or [`Problems`] with every error and its place.
//! A scenario file also has tables, the [`script::Script`].

mod bounds;
pub mod course;
mod machine;
mod plan;
mod problems;
mod resolve;
mod scenario;
pub mod schema;
pub mod script;
mod settings;
pub mod sweep;
mod tables;

use std::path::Path;

pub use course::course;
pub use machine::Machine;
pub use plan::{
    AdapterPlan, AggregationPlan, DataPlan, DataSource, DeviceSpec, DevicesPlan, LaneSpec,
    ModelPlan, ModelSource, Plan, RANDOM, SimulationPlan, TelemetryPlan, TrainingPlan,
};
pub use problems::{Origin, Origins, Problem, Problems};
pub use settings::{AdapterKind, Bias, Clock, Method, Precision, Settings, Weighting};

/// Where data sets lie when nothing else is said.
pub const DATA_FOLDER: &str = "data/glue";

/// Where metrics are served when nothing else is said.
pub const METRICS: &str = "127.0.0.1:9464";

/// Where the live page is served when nothing else is said.
pub const WEB: &str = "127.0.0.1:9466";

/// The name that stands for the Hugging Face hub in place of a data folder.
pub const HUB: &str = "hub";

/// Reads the scenario file, lays the flags over it, and decides everything for this machine.
///
/// Paths are taken from the current directory, also those in the file. The files of
/// the model and the data are not read: what is wrong with them is reported later, through
/// [`Plan::problems`].
///
/// # Errors
/// Everything that is wrong with the input, each with its place.
pub fn load(
    scenario: Option<&Path>,
    flags: &Settings,
    machine: &Machine,
) -> Result<Plan, Problems> {
    let mut problems = Problems::default();
    let Some((mut table, script)) = scenario.map_or_else(
        || Some((toml::Table::new(), script::Script::default())),
        |path| scenario::read(path, &mut problems),
    ) else {
        return Err(problems);
    };
    for (key, value) in scenario::to_table(flags) {
        let written = flag_value(&value);
        problems.origins_mut().note(&key, Origin::Flag, written);
        table.insert(key, value);
    }
    let settings = match table.try_into::<Settings>() {
        Ok(settings) => settings,
        Err(error) => {
            problems.report_input(error.message());
            return Err(problems);
        }
    };
    let name = scenario
        .and_then(Path::file_stem)
        .and_then(|stem| stem.to_str());
    resolve::resolve(settings, script, name, machine, problems)
}

/// A value as it would stand behind its flag.
pub(crate) fn flag_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Array(items) => items.iter().map(flag_value).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
