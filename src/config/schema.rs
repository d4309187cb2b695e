//! The JSON Schema of scenario files, by which editors complete keys and show what they mean.

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

use crate::config::settings::{ALL, Settings};
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
        for (key, other) in also {
            if let Some(property) = properties.get(key).cloned() {
                properties.insert(other.to_owned(), property);
            }
        }
    }
    schema
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
