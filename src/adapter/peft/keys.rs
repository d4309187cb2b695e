//! What Regatta makes of the keys of `adapter_config.json`, those of all versions of PEFT.
//!
//! A key is read, has no effect on the adapter that is loaded, or changes what the adapter
//! computes in a way that Regatta does not have. One of the last kind, and one that nobody knows,
//! must be empty: null, false, or without entries.

use serde_json::{Map, Value};

use crate::adapter::peft::peft_type;

/// Keys that [`crate::adapter::peft::config::PeftConfig`] holds.
const READ: [&str; 25] = [
    "alpha_pattern",
    "base_model_name_or_path",
    "bias",
    "d_initial",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "projection_prng_key",
    "r",
    "rank_pattern",
    "save_projection",
    "sorf_seed",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
    "vera_dropout",
];

/// Keys that change nothing in an adapter that is loaded: where it comes from, how its first values
/// were found (`init_lora_weights` names the ways that change the base), and settings of what is
/// switched off elsewhere.
const WITHOUT_EFFECT: [&str; 11] = [
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "init_weights",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Keys that change what an adapter computes, and what they bring.
const REFUSED: [(&str, &str); 14] = [
    (
        "alora_invocation_tokens",
        "an adapter that acts after certain tokens only",
    ),
    ("arrow_config", "routing among several adapters"),
    ("enable_lora", "adapters on parts of merged layers"),
    (
        "kasa_config",
        "singular values between A and B, and another base",
    ),
    (
        "layer_replication",
        "a model with some of its layers repeated",
    ),
    ("lora_bias", "a bias beside B"),
    ("megatron_config", "layers of Megatron"),
    ("monteclora_config", "random draws around the adapter"),
    ("target_parameters", "adapters on single parameters"),
    (
        "trainable_token_indices",
        "single rows of the embeddings that were trained",
    ),
    ("use_bdlora", "factors of diagonal blocks"),
    ("use_dora", "magnitudes that scale the weights"),
    ("use_qalora", "inputs that are averaged in groups"),
    ("velora_config", "gradients from compressed inputs"),
];

/// Checks that every key is one that Regatta can follow, or empty.
///
/// # Errors
/// The first key that is neither, and what it brings.
pub fn check(keys: &Map<String, Value>) -> Result<(), String> {
    check_kind(keys)?;
    for (key, value) in keys {
        let known = |keys: &[&str]| keys.contains(&key.as_str());
        if let Some((_, brings)) = REFUSED.iter().find(|(refused, _)| refused == key) {
            if !is_empty(value) {
                return Err(format!(
                    "{key} is {}, {brings}: Regatta has no such adapter; it reads plain LoRA and \
                     VeRA",
                    shortened(value)
                ));
            }
        } else if !known(&READ) && !known(&WITHOUT_EFFECT) && !is_empty(value) {
            return Err(format!(
                "{key} is {}, and Regatta does not know what that does to an adapter; set it to \
                 null if it does nothing",
                shortened(value)
            ));
        }
    }
    Ok(())
}

/// The kind of adapter first: the keys of another kind would only distract from it.
fn check_kind(keys: &Map<String, Value>) -> Result<(), String> {
    match keys.get("peft_type") {
        Some(Value::String(name)) if peft_type::find(name).is_some() => Ok(()),
        Some(other) => Err(format!(
            "peft_type is {}; Regatta reads \"LORA\" and \"VERA\"",
            shortened(other)
        )),
        None => Err(
            "there is no peft_type, which says what kind of adapter this is: \"LORA\" or \"VERA\""
                .to_owned(),
        ),
    }
}

/// Whether a value asks for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A value as JSON, cut where it is long.
fn shortened(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(extra: Value) -> Result<(), String> {
        let mut keys = json!({"peft_type": "LORA", "r": 4});
        let all = keys.as_object_mut().unwrap();
        all.extend(extra.as_object().unwrap().clone());
        check(all)
    }

    #[test]
    fn what_newer_versions_write_is_refused_by_its_name_unless_it_is_empty() {
        for (key, _) in REFUSED.iter().chain(&[("what_2031_brings", "")]) {
            for empty in [json!(null), json!(false), json!([]), json!({}), json!("")] {
                assert_eq!(said(json!({*key: empty})), Ok(()), "{key}");
            }
            for full in [
                json!(true),
                json!(1),
                json!([0]),
                json!({"a": null}),
                json!("x"),
            ] {
                let error = said(json!({*key: full})).unwrap_err();
                assert!(error.starts_with(&format!("{key} is {full}")), "{error}");
            }
        }
    }

    #[test]
    fn a_key_without_effect_may_say_anything() {
        for key in WITHOUT_EFFECT {
            assert_eq!(said(json!({key: {"some": ["thing", 7]}})), Ok(()), "{key}");
        }
    }

    #[test]
    fn another_kind_of_adapter_is_refused_by_its_name_before_its_keys() {
        for kind in ["IA3", "ADALORA", "LOHA", "PREFIX_TUNING", "lora", "C3A"] {
            let error = said(json!({"peft_type": kind, "feedforward_modules": ["x"]}));
            assert!(
                error
                    .unwrap_err()
                    .contains(&format!("peft_type is {kind:?}"))
            );
        }
        let none = check(json!({"r": 4}).as_object().unwrap()).unwrap_err();
        assert!(none.contains("no peft_type"), "{none}");
    }

    #[test]
    fn a_long_value_is_cut_in_the_message() {
        let error = said(json!({"layer_replication": vec![[0, 4]; 500]})).unwrap_err();
        assert!(error.len() < 250 && error.contains('…'), "{error}");
    }
}
