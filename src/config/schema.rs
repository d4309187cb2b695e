//! The JSON Schema of scenario files, by which editors complete keys and show what they mean.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

use crate::config::settings::{ALL, Settings};
use crate::config::tables::ScenarioTables;
use crate::config::tables::task::TaskTable;

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

/// The schema, in which the description of a setting states its default.
#[must_use]
pub fn schema() -> Schema {
    let mut schema = schema_for!(ScenarioSchema);
    for setting in ALL {
        let property = format!("/properties/{}/description", setting.facts().key);
        if let Some(Value::String(description)) = schema.pointer_mut(&property) {
            let default = setting.default_text();
            description.push_str(&format!(" [default: {default}]"));
        }
    }
    let facts = ALL.iter().map(|setting| setting.facts());
    let also: Vec<_> = facts
        .filter_map(|it| Some((it.key, it.other_name?)))
        .collect();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        if let Some(Value::Object(task)) = properties.get_mut("task") {
            task.retain(|key, _| key == "description");
            let named = serde_json::json!({ "type": "string" });
            task.insert("anyOf".to_owned(), vec![named, own_task()].into());
        }
        for (key, other) in also {
            if let Some(property) = properties.get(key).cloned() {
                properties.insert(other.to_owned(), property);
            }
        }
    }
    schema
}

/// The schema of a table that describes a task.
fn own_task() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<TaskTable>();
    schema.remove("$schema");
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_every_setting_states_its_default() {
        let schema = schema();
        for setting in ALL {
            let property = format!("/properties/{}/description", setting.facts().key);
            let description = schema.pointer(&property).unwrap().as_str().unwrap();
            let default = format!(" [default: {}]", setting.default_text());
            assert!(description.ends_with(&default), "{description}");
        }
    }
}
