//! The scenarios that come with the project, and the schema that describes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regatta::base::machine::Host;
use regatta::config::settings::Settings;
use regatta::config::{load, schema};
use regatta_actors::plan::fault::FaultName;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The scenarios by name.
fn scenarios() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("scenarios")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    // Beside them lie the scripts for Slurm.
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// Where a value does not fit a schema: types, names and keys; `None`: it fits.
fn misfit(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return misfit(root, target, value);
    }
    for choices in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choices].as_array() {
            let misfits: Option<Vec<_>> = choices.iter().map(|c| misfit(root, c, value)).collect();
            return misfits.map(|misfits| misfits.join(" or "));
        }
    }
    let is = |name: &Value| match name.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    };
    let fits = match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    };
    let listed = |names: &Value| names.as_array().is_none_or(|names| names.contains(value));
    let constant = schema.get("const").is_none_or(|constant| constant == value);
    if !fits || !listed(&schema["enum"]) || !constant {
        return Some(format!("{value} is not {schema}"));
    }
    if let Some(items) = value.as_array() {
        return items
            .iter()
            .find_map(|item| misfit(root, &schema["items"], item));
    }
    value.as_object()?.iter().find_map(|(key, value)| {
        let property = schema["properties"].get(key);
        match property.or_else(|| schema.get("additionalProperties")) {
            Some(property) if property.is_object() => misfit(root, property, value),
            _ => Some(format!("unknown key {key}")),
        }
    })
}

fn schema_value() -> Value {
    serde_json::to_value(schema::schema()).unwrap()
}

fn misfit_of(text: &str) -> Option<String> {
    let value: Value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    let schema = schema_value();
    misfit(&schema, &schema, &value)
}

#[test]
fn every_scenario_fits_the_schema_and_says_what_to_watch_for() {
    let found: Vec<_> = scenarios();
    assert!(found.len() >= 8, "{found:?}");
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        assert!(text.contains("# What to watch for:"), "{}", path.display());
        assert_eq!(misfit_of(&text), None, "{}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    for text in [
        "roundz = 3",
        "rounds = \"many\"",
        "[policy]\nkind = \"deadlin\"",
        "[clients.slow]\nspeeed = 3",
        "[[faults]]\nkind = \"drop\"\nat = \"half\"",
        "[[faults]]\nkind = \"fire\"",
    ] {
        assert!(misfit_of(text).is_some(), "{text}");
    }
}

#[test]
fn every_scenario_becomes_a_plan_and_its_resolved_form_the_same() {
    let machine = Host::cpu(2);
    for path in scenarios() {
        let plan = load(Some(&path), &Settings::default(), &machine).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let again = folder.path().join("scenario.toml");
        fs::write(&again, plan.to_toml()).unwrap();
        let again = load(Some(&again), &Settings::default(), &machine).unwrap();
        assert_eq!(again.simulation, plan.simulation, "{}", path.display());
        assert_eq!(again.to_toml(), plan.to_toml(), "{}", path.display());
        assert_eq!(misfit_of(&plan.to_toml()), None, "{}", path.display());
    }
}

#[test]
fn the_flaky_fleet_has_every_kind_of_fault() {
    let path = root().join("scenarios/flaky_fleet.toml");
    let plan = load(Some(&path), &Settings::default(), &Host::detect()).unwrap();
    let kinds: BTreeSet<_> = plan
        .simulation
        .faults
        .iter()
        .map(|f| f.kind.name())
        .collect();
    assert_eq!(kinds, BTreeSet::from(FaultName::ALL));
    assert_eq!((plan.data.num_clients, plan.rounds), (50, 20));
}

#[test]
fn every_scenario_passes_the_check_with_the_model_and_data_of_the_set_up() {
    let there = |path: &str| root().join(path).exists();
    if !there("models/minilm/model.safetensors") || !there("data/reviews") {
        eprintln!("skipped: `make setup` fetches models/minilm and data/reviews");
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    // Their models and data are fetched on request, or brought by the user.
    let wanted = |path: &PathBuf| match name(path) {
        "e2e" => false,
        "smollm2" => there("models/smollm2"),
        _ => true,
    };
    for path in scenarios().into_iter().filter(wanted) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_regatta"))
            .current_dir(root())
            .env_remove("REGATTA_DATA")
            .env("XDG_CACHE_HOME", cache.path())
            .env("XDG_STATE_HOME", cache.path())
            .arg("check")
            .arg(&path)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", path.display());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(name(&path)), "{said}");
    }
}

#[test]
fn the_program_prints_its_schema() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_regatta"))
        .arg("schema")
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, schema_value());
}
