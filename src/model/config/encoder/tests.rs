//! The settings of `config.json` of the families that are not BERT's kin, and their results.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config;

fn read(json: &Value) -> Result<Arc<dyn Architecture>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, json.to_string()).unwrap();
    config::read(&path).map_err(|error: ModelError| {
        let text = error.to_string();
        let reason = text.strip_prefix(&format!("{}: ", path.display()));
        reason.expect("the error names the file").to_owned()
    })
}

fn with(family: &str, keys: &Value) -> Result<Map<String, Value>, String> {
    let mut json = json!({ "model_type": family });
    for (key, value) in keys.as_object().unwrap() {
        json[key] = value.clone();
    }
    read(&json).map(|read| read.to_json())
}

/// `DistilBertConfig()`, `ModernBertConfig()`, … of transformers 4.57.6.
const DEFAULTS: [&str; 6] = [
    r#"{"model_type": "distilbert", "vocab_size": 30522, "max_position_embeddings": 512,
        "sinusoidal_pos_embds": false, "n_layers": 6, "n_heads": 12, "dim": 768,
        "hidden_dim": 3072, "dropout": 0.1, "attention_dropout": 0.1, "activation": "gelu",
        "initializer_range": 0.02, "seq_classif_dropout": 0.2, "pad_token_id": 0}"#,
    r#"{"model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768,
        "intermediate_size": 1152, "num_hidden_layers": 22, "num_attention_heads": 12,
        "hidden_activation": "gelu", "max_position_embeddings": 8192, "initializer_range": 0.02,
        "initializer_cutoff_factor": 2.0, "norm_eps": 1e-05, "norm_bias": false,
        "pad_token_id": 50283, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
        "attention_bias": false, "attention_dropout": 0.0, "global_attn_every_n_layers": 3,
        "local_attention": 128, "embedding_dropout": 0.0, "mlp_bias": false, "mlp_dropout": 0.0,
        "classifier_pooling": "cls", "classifier_dropout": 0.0, "classifier_bias": false,
        "classifier_activation": "gelu"}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 128100, "hidden_size": 1536,
        "num_hidden_layers": 24, "num_attention_heads": 24, "intermediate_size": 6144,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512, "type_vocab_size": 0, "layer_norm_eps": 1e-07,
        "initializer_range": 0.02, "pad_token_id": 0, "relative_attention": false,
        "position_biased_input": true, "pooler_dropout": 0.0, "pooler_hidden_act": "gelu"}"#,
    r#"{"model_type": "deberta", "vocab_size": 50265, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512, "type_vocab_size": 0, "layer_norm_eps": 1e-07,
        "initializer_range": 0.02, "pad_token_id": 0, "relative_attention": false,
        "position_biased_input": true, "pooler_dropout": 0.0, "pooler_hidden_act": "gelu"}"#,
    r#"{"model_type": "electra", "vocab_size": 30522, "embedding_size": 128, "hidden_size": 256,
        "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 1024,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "initializer_range": 0.02, "pad_token_id": 0, "classifier_dropout": null}"#,
    r#"{"model_type": "xlm-roberta", "vocab_size": 30522, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "initializer_range": 0.02, "pad_token_id": 1, "classifier_dropout": null}"#,
];

#[test]
fn keys_that_are_not_there_have_the_defaults_of_transformers() {
    for text in DEFAULTS {
        let right: Map<String, Value> = serde_json::from_str(text).unwrap();
        let family = right["model_type"].as_str().unwrap();
        let found = with(family, &json!({})).unwrap();
        for (key, value) in &right {
            assert_eq!(&found[key], value, "{key} of {family}");
        }
    }
}

#[test]
fn what_is_not_supported_or_out_of_range_is_refused_by_key() {
    for (family, key, values) in [
        ("distilbert", "dim", json!([0, "768", 770])),
        ("distilbert", "num_hidden_layers", json!([0, 1e9])),
        ("distilbert", "sinusoidal_pos_embds", json!(["yes", null])),
        ("distilbert", "pad_token_id", json!([-1, 30522, "0"])),
        ("distilbert", "activation", json!(["gelu_rust", null])),
        ("electra", "embedding_size", json!([0, -2, "128"])),
        (
            "electra",
            "position_embedding_type",
            json!(["relative_key"]),
        ),
        ("modernbert", "hidden_size", json!([770, 12])),
        ("modernbert", "classifier_pooling", json!(["max", null])),
        ("modernbert", "local_attention", json!([0, -1])),
        ("modernbert", "global_attn_every_n_layers", json!([0])),
        (
            "modernbert",
            "layer_types",
            json!([["full_attention"], "full", [1]]),
        ),
        (
            "modernbert",
            "rope_scaling",
            json!([{ "rope_type": "linear", "factor": 2.0 }]),
        ),
        (
            "modernbert",
            "rope_parameters",
            json!([3, { "full_attention": { "rope_type": "yarn" } }, { "sliding_attention": 1 }]),
        ),
        ("modernbert", "initializer_cutoff_factor", json!([0, -1])),
        (
            "modernbert",
            "quantization_config",
            json!([{ "load_in_8bit": true }]),
        ),
        (
            "deberta-v2",
            "pos_att_type",
            json!(["p2p", ["c2p", "c2p"], [1], 3]),
        ),
        ("deberta-v2", "norm_rel_ebd", json!(["batch_norm", 3])),
        ("deberta-v2", "attention_head_size", json!([32])),
        ("deberta-v2", "pooler_hidden_size", json!([768])),
        ("deberta-v2", "conv_kernel_size", json!([4, "3"])),
        ("deberta-v2", "max_relative_positions", json!(["512", null])),
        ("deberta", "talking_head", json!([true])),
        ("deberta", "hidden_size", json!([770])),
    ] {
        for value in values.as_array().unwrap() {
            let error = with(family, &json!({ key: value })).unwrap_err();
            assert!(error.starts_with(key), "{family}: {key} = {value}: {error}");
            assert!(error.len() < 500, "{error}");
        }
    }
    let few = json!({ "relative_attention": true, "position_buckets": 256,
        "max_relative_positions": 64 });
    let error = with("deberta-v2", &few).unwrap_err();
    assert!(error.contains("position_buckets 256"), "{error}");
}

#[test]
fn keys_have_the_other_names_that_transformers_takes() {
    let keys = json!({ "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2 });
    let found = with("distilbert", &keys).unwrap();
    let sizes = ["dim", "n_heads", "n_layers"].map(|key| found[key].as_i64().unwrap());
    assert_eq!(sizes, [48, 4, 2]);
    let text = with("deberta-v2", &json!({ "pos_att_type": " P2C | c2p " })).unwrap();
    let list = with("deberta-v2", &json!({ "pos_att_type": ["p2c", "c2p"] })).unwrap();
    assert_eq!(text, list);
}

/// As transformers 5 writes them.
#[test]
fn layers_and_positions_of_a_modernbert_may_be_told_one_by_one() {
    let keys = json!({
        "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": { "rope_type": "default", "rope_theta": 5.0 },
            "sliding_attention": { "rope_theta": 7 },
        },
    });
    let found = with("modernbert", &keys).unwrap();
    assert_eq!(found["layer_types"], keys["layer_types"]);
    assert_eq!(found["global_rope_theta"], 5.0);
    assert_eq!(found["local_rope_theta"], 7.0);
    let one = json!({ "global_rope_theta": 3.0, "local_rope_theta": null });
    assert_eq!(with("modernbert", &one).unwrap()["local_rope_theta"], 3.0);
}

#[test]
fn the_architectures_tell_a_family_where_there_is_no_model_type() {
    for (class, family) in [
        ("DistilBertForMaskedLM", "distilbert"),
        ("ElectraForPreTraining", "electra"),
        ("XLMRobertaForMaskedLM", "xlm-roberta"),
        ("ModernBertForMaskedLM", "modernbert"),
        ("DebertaV2ForMaskedLM", "deberta-v2"),
        ("DebertaModel", "deberta"),
    ] {
        let found = read(&json!({ "architectures": [class] })).unwrap();
        assert_eq!(found.name(), family);
    }
    for class in ["XLMRobertaXLModel", "ModernBertDecoderModel"] {
        assert!(read(&json!({ "architectures": [class] })).is_err());
    }
}
