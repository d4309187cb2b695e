mod layers;
mod refusals;

use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config::KNOWN;
use crate::model::config::decoder::architecture::rotary_model;
use crate::model::config::keys::object_of;
use crate::model::config::model_type;
use crate::model::decoder::rotary::config::RotaryConfig;

/// A small model of a family.
fn small(family: &str) -> Map<String, Value> {
    object_of(json!({
        "model_type": family, "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
        "intermediate_size": 24, "max_position_embeddings": 64
    }))
}

fn parse(keys: &Map<String, Value>) -> Result<RotaryConfig, ModelError> {
    model_type::of_keys(keys, "config.json".as_ref(), &KNOWN, |keys, found| {
        (rotary_model(found.name).unwrap().parse)(keys)
    })
}

/// The small model of a family with other keys.
fn with(family: &str, keys: Value) -> Result<RotaryConfig, ModelError> {
    let mut all = small(family);
    all.extend(object_of(keys));
    parse(&all)
}

#[test]
fn what_a_file_leaves_out_has_the_familys_own_default() {
    // Of transformers' classes: vocabulary, width, layers, heads of queries and keys, their width,
    // the feed-forward's, positions, whether the output is tied, and the tokens of padding and end.
    for (family, sizes, tied, padding, end) in [
        (
            "llama",
            [32_000, 4096, 32, 32, 32, 128, 11_008, 2048],
            false,
            None,
            vec![2],
        ),
        (
            "mistral",
            [32_000, 4096, 32, 32, 8, 128, 14_336, 131_072],
            false,
            None,
            vec![2],
        ),
        (
            "qwen2",
            [151_936, 4096, 32, 32, 32, 128, 22_016, 32_768],
            false,
            None,
            vec![],
        ),
        (
            "qwen3",
            [151_936, 4096, 32, 32, 32, 128, 22_016, 32_768],
            false,
            None,
            vec![],
        ),
        (
            "gemma2",
            [256_000, 2304, 26, 8, 4, 256, 9216, 8192],
            true,
            Some(0),
            vec![1],
        ),
    ] {
        // Some of the largest have more weights than are supported.
        let mut keys = object_of(json!({ "model_type": family }));
        if family.starts_with("qwen") {
            keys.insert("num_hidden_layers".to_owned(), json!(2));
        }
        let config = parse(&keys).unwrap();
        let got = [
            config.vocab_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.intermediate_size,
            config.max_position_embeddings,
        ];
        let mut sizes = sizes;
        if family.starts_with("qwen") {
            sizes[2] = 2;
        }
        assert_eq!(got, sizes, "{family}");
        assert_eq!(config.tie_word_embeddings, tied, "{family}");
        assert_eq!(config.pad_token_id, padding, "{family}");
        assert_eq!(config.eos_token_id, end, "{family}");
        assert_eq!(config.rope.theta, 1e4, "{family}");
    }
    // A width of heads that does not follow from the model's.
    let mut qwen3 = small("qwen3");
    qwen3.remove("head_dim");
    assert_eq!(parse(&qwen3).unwrap().head_dim, 128);
    qwen3["model_type"] = json!("qwen2");
    assert_eq!(parse(&qwen3).unwrap().head_dim, 4);
}

#[test]
fn what_is_written_is_read_as_the_same_model() {
    for (family, keys) in [
        (
            "llama",
            json!({"attention_bias": true, "rope_scaling": {"type": "linear", "factor": 2}}),
        ),
        (
            "mistral",
            json!({"sliding_window": null, "pad_token_id": 3}),
        ),
        (
            "mistral",
            json!({"sliding_window": 7, "tie_word_embeddings": true}),
        ),
        (
            "qwen2",
            json!({"use_sliding_window": true, "max_window_layers": 2}),
        ),
        (
            "qwen3",
            json!({"attention_bias": true, "eos_token_id": [4, 5], "rope_parameters":
            {"rope_type": "default", "rope_theta": 5e5}}),
        ),
        (
            "gemma2",
            json!({"pad_token_id": null, "final_logit_softcapping": null,
            "query_pre_attn_scalar": 24, "sliding_window": 9}),
        ),
    ] {
        let config = with(family, keys).unwrap();
        assert_eq!(parse(&config.to_json()).unwrap(), config);
    }
    // Strict types: transformers 5 refuses a number with a point here.
    let json = with("gemma2", json!({})).unwrap().to_json();
    assert_eq!(json["query_pre_attn_scalar"].to_string(), "256");
}

#[test]
fn a_llamas_fingerprint_is_that_of_earlier_versions() {
    let config = with("llama", json!({"rope_theta": 5e5})).unwrap();
    let expected = concat!(
        r#"{"attention_bias":false,"attention_dropout":0.0,"eos_token_id":[2],"head_dim":6,"#,
        r#""hidden_act":"silu","hidden_size":16,"initializer_range":0.02,"#,
        r#""intermediate_size":24,"max_position_embeddings":64,"mlp_bias":false,"#,
        r#""model_type":"llama","num_attention_heads":4,"num_hidden_layers":3,"#,
        r#""num_key_value_heads":2,"pad_token_id":null,"rms_norm_eps":1e-6,"#,
        r#""rope_scaling":null,"rope_theta":500000.0,"tie_word_embeddings":false,"#,
        r#""vocab_size":50}"#,
    );
    assert_eq!(config.fingerprint(), expected);
}
