use std::path::Path;

use regatta::adapter::peft::export::AdapterFiles;
use regatta::adapter::peft::import::PeftFolder;
use regatta::base::tensors::TensorMap;
use serde_json::{Map, Value, json};

use crate::reference::cases;

fn config(folder: &Path) -> Map<String, Value> {
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What PEFT takes for a key that is not there.
fn default(key: &str) -> Value {
    match key {
        "init_weights" | "init_lora_weights" => json!(true),
        "alpha_pattern" | "rank_pattern" | "loftq_config" => json!({}),
        "megatron_core" => json!("megatron.core"),
        "use_dora" | "use_rslora" | "fan_in_fan_out" => json!(false),
        _ => Value::Null,
    }
}

/// A value with sets in one order.
fn ordered(value: &Value) -> Value {
    match value.as_array() {
        Some(items) => {
            let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
            items.sort();
            json!(items)
        }
        None => value.clone(),
    }
}

#[test]
fn golden_adapters_are_written_as_peft_saved_them() {
    for case in cases("adapter") {
        let (saved, out) = (case.join("peft"), tempfile::tempdir().unwrap());
        let folder = PeftFolder::read(&saved).unwrap();
        AdapterFiles::from(folder).write(out.path()).unwrap();
        let tensors =
            |folder: &Path| TensorMap::read(&folder.join("adapter_model.safetensors")).unwrap();
        let case = case.display();
        assert!(tensors(out.path()) == tensors(&saved), "tensors of {case}");
        let (ours, theirs) = (config(out.path()), config(&saved));
        for key in ours.keys().chain(theirs.keys()) {
            let value = |config: &Map<String, Value>| {
                ordered(&config.get(key).cloned().unwrap_or_else(|| default(key)))
            };
            assert_eq!(value(&ours), value(&theirs), "{key} of {case}");
        }
    }
}
