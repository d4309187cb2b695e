//! The settings of `config.json`, and their results.

use serde_json::json;

use super::*;
use crate::model::encoder::bert::BERT;
use crate::model::encoder::roberta::ROBERTA;

fn read_json(json: &Value) -> Result<EncoderConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, json.to_string()).unwrap();
    let error = |error: ModelError| {
        let text = error.to_string();
        let reason = text.strip_prefix(&format!("{}: ", path.display()));
        reason.expect("the error names the file").to_owned()
    };
    EncoderConfig::read(&path).map_err(error)
}

/// With one key as given, or with several.
fn with(family: &str, keys: &Value) -> Result<EncoderConfig, String> {
    let mut json = json!({ "model_type": family });
    for (key, value) in keys.as_object().unwrap() {
        json[key] = value.clone();
    }
    read_json(&json)
}

/// `RobertaConfig()` and `BertConfig()` of transformers 4.46.2.
#[test]
fn keys_that_are_not_there_have_the_architectures_own_defaults() {
    for (family, vocabulary, pad) in [("roberta", 50_265, 1), ("bert", 30_522, 0)] {
        let config = with(family, &json!({})).unwrap();
        let right = json!({
            "model_type": family, "vocab_size": vocabulary, "hidden_size": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512,
            "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
            "pad_token_id": pad, "position_embedding_type": "absolute",
            "classifier_dropout": null,
        });
        assert_eq!(serde_json::to_value(&config).unwrap(), right);
    }
}

#[test]
fn fingerprints_are_what_they_have_been_from_the_first() {
    let of = |family| with(family, &json!({})).unwrap().fingerprint();
    let right = "ModelConfig { family: Bert, vocab_size: 30522, hidden_size: 768, \
                 num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072, \
                 hidden_act: Gelu, max_position_embeddings: 512, type_vocab_size: 2, \
                 layer_norm_eps: 1e-12, hidden_dropout_prob: 0.1, \
                 attention_probs_dropout_prob: 0.1, classifier_dropout: None, \
                 initializer_range: 0.02, pad_token_id: 0, position_embedding_type: \"absolute\" }";
    assert_eq!(of("bert"), right);
    let roberta = right.replace("Bert, vocab_size: 30522", "Roberta, vocab_size: 50265");
    assert_eq!(
        of("roberta"),
        roberta.replace("pad_token_id: 0", "pad_token_id: 1")
    );
}

#[test]
fn the_longest_text_follows_from_the_default_of_the_padding_token() {
    let tokens = |family| with(family, &json!({})).unwrap().positions();
    assert_eq!((tokens("roberta"), tokens("bert")), (510, 512));
}

#[test]
fn null_is_taken_where_transformers_takes_it() {
    let keys = json!({
        "classifier_dropout": null, "pad_token_id": null, "pruned_heads": null,
        "is_decoder": null, "architectures": null, "id2label": null,
    });
    let config = with("bert", &keys).unwrap();
    assert_eq!((config.pad_token_id, config.pad()), (None, 0));
    assert_eq!(config.head_dropout(), 0.1);
    for key in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
        "hidden_act",
        "layer_norm_eps",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "initializer_range",
        "position_embedding_type",
    ] {
        let error = with("bert", &json!({ key: null })).unwrap_err();
        assert!(error.starts_with(&format!("{key} is null; ")), "{error}");
    }
    let error = with("roberta", &json!({ "pad_token_id": null })).unwrap_err();
    assert!(error.starts_with("pad_token_id is null; "), "{error}");
}

#[test]
fn values_of_another_type_or_out_of_range_are_refused_by_key() {
    for (key, values) in [
        (
            "vocab_size",
            json!(["50265", 50265.0, true, [], {}, 0, -1, 1e300]),
        ),
        (
            "hidden_size",
            json!([0, 4611686018427387904_u64, 18446744073709551615_u64]),
        ),
        (
            "num_hidden_layers",
            json!([1000000000000_i64, -3, "twelve"]),
        ),
        ("num_attention_heads", json!([0, 12.5])),
        ("hidden_act", json!([7, "geglu", ["gelu"], true])),
        ("layer_norm_eps", json!(["1e-5", -1e-5])),
        ("hidden_dropout_prob", json!([1, -0.1, "0.1"])),
        ("attention_probs_dropout_prob", json!([1.5, false])),
        ("classifier_dropout", json!([1.5, "none"])),
        ("initializer_range", json!([-0.02, "0.02"])),
        ("pad_token_id", json!([1.5, "1", 50265, -1, true])),
        (
            "position_embedding_type",
            json!(["relative_key", "relative_key_query", 3]),
        ),
        ("is_decoder", json!([true, "yes"])),
        ("add_cross_attention", json!([true])),
        ("pruned_heads", json!([{ "0": [1] }])),
        ("quantization_config", json!([{ "load_in_8bit": true }])),
    ] {
        for value in values.as_array().unwrap() {
            let error = with("roberta", &json!({ key: value })).unwrap_err();
            assert!(error.starts_with(key), "{key} = {value}: {error}");
            assert!(error.len() < 500, "{error}");
        }
    }
}

#[test]
fn numbers_may_be_written_without_a_point_and_keys_that_change_nothing_may_be_anything() {
    let keys = json!({
        "hidden_dropout_prob": 0, "layer_norm_eps": 0, "use_cache": "maybe", "torch_dtype": 3,
        "num_labels": 7, "id2label": { "0": "no" }, "is_decoder": false, "pruned_heads": {},
    });
    let config = with("roberta", &keys).unwrap();
    assert_eq!(config.hidden_dropout_prob, 0.0);
}

#[test]
fn every_activation_that_transformers_names_is_taken_and_written_as_it_was() {
    for activation in Activation::ALL {
        let name = activation.name();
        let config = with("bert", &json!({ "hidden_act": name })).unwrap();
        assert_eq!(config.hidden_act, activation);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["hidden_act"], name);
    }
    let error = with("bert", &json!({ "hidden_act": "gelu_rust" })).unwrap_err();
    assert!(
        error.contains("\"gelu_rust\"") && error.contains("gelu_python"),
        "{error}"
    );
}

#[test]
fn sizes_that_do_not_go_together_are_refused_with_their_keys() {
    for (keys, named) in [
        (json!({ "hidden_size": 100 }), "num_attention_heads"),
        (
            json!({ "max_position_embeddings": 2 }),
            "max_position_embeddings",
        ),
        (json!({ "vocab_size": 1 }), "pad_token_id"),
        (
            json!({ "hidden_size": 1_000_000, "num_attention_heads": 10 }),
            "hidden_size",
        ),
        (
            json!({ "num_hidden_layers": 10_000, "intermediate_size": 10_000_000 }),
            "intermediate_size",
        ),
    ] {
        let error = with("roberta", &keys).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn without_a_model_type_the_architectures_tell_it() {
    for (name, family) in [
        ("RobertaForMaskedLM", ROBERTA),
        ("RobertaModel", ROBERTA),
        ("BertForSequenceClassification", BERT),
        ("TFBertModel", BERT),
        ("BertLMHeadModel", BERT),
    ] {
        let config = read_json(&json!({ "architectures": [name] })).unwrap();
        assert_eq!(config.family, family, "{name}");
        let config = read_json(&json!({ "model_type": null, "architectures": [name] }));
        assert_eq!(config.unwrap().family, family, "{name}");
    }
    for names in [
        json!(["RobertaPreLayerNormModel"]),
        json!(["BertGenerationEncoder"]),
        json!(["GPT2LMHeadModel"]),
        json!([3]),
        json!("BertModel"),
    ] {
        let error = read_json(&json!({ "architectures": names })).unwrap_err();
        assert!(error.starts_with("architectures is "), "{error}");
    }
}

#[test]
fn a_model_type_that_is_not_known_is_refused_whatever_the_architectures_say() {
    for kind in [
        json!("gpt2"),
        json!("xlm-roberta-xl"),
        json!("BERT"),
        json!(1),
    ] {
        let error = read_json(&json!({ "model_type": kind, "architectures": ["BertModel"] }));
        let error = error.unwrap_err();
        assert!(error.starts_with("model_type is "), "{error}");
    }
}

#[test]
fn without_both_the_tensors_tell_it_else_what_to_add_is_said() {
    use crate::base::tensors::{HostTensor, TensorMap};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, "{}").unwrap();
    for (name, family) in [
        ("bert.pooler.dense.bias", Some(BERT)),
        (
            "module.roberta.encoder.layer.0.output.dense.bias",
            Some(ROBERTA),
        ),
        ("encoder.layer.0.output.dense.bias", None),
    ] {
        let mut tensors = TensorMap::default();
        tensors.insert(name, HostTensor::full(&[1], 0.0));
        let file = folder.path().join("model.safetensors");
        tensors.write(&file).unwrap();
        let found = EncoderConfig::read(&path);
        match family {
            Some(family) => assert_eq!(found.unwrap().family, family),
            None => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains("add \"model_type\": \"roberta\""), "{error}");
            }
        }
    }
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(EncoderConfig::read(&path).is_err());
}

#[test]
fn what_is_no_json_object_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for text in ["", "[]", "{\"vocab_size\": NaN}", "{", "\u{feff}{}", "null"] {
        std::fs::write(&path, text).unwrap();
        let error = EncoderConfig::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("config.json: not a JSON object: "),
            "{error}"
        );
    }
    std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
    assert!(EncoderConfig::read(&path).is_err());
    let missing = EncoderConfig::read(&folder.path().join("none.json")).unwrap_err();
    assert!(matches!(missing, ModelError::NoConfig(_)), "{missing}");
}
