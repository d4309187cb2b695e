//! The JSON Schema of scenario files, by which editors complete keys and show what they mean.

use schemars::{JsonSchema, Schema, schema_for};

use crate::config::settings::Settings;
use crate::config::tables::ScenarioTables;

/// A scenario of Regatta: flat settings, named as the flags of `regatta run` are, and tables.
#[derive(JsonSchema)]
#[schemars(title = "Regatta scenario", deny_unknown_fields)]
#[allow(dead_code, reason = "it only provides its schema")]
struct ScenarioSchema {
    #[schemars(flatten)]
    settings: Settings,
    #[schemars(flatten)]
    tables: ScenarioTables,
}

/// The schema.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(ScenarioSchema)
}
