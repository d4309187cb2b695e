use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config::model_type;
use crate::model::config::{KNOWN, decoder::architecture::rotary_model, keys::object_of};
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};
use crate::model::layers::soft_cap::SoftCap;

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

const FAMILIES: [&str; 5] = ["llama", "mistral", "qwen2", "qwen3", "gemma2"];

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
fn the_layers_that_have_a_window_are_those_of_transformers() {
    use LayerType::{Full, Sliding};
    for (family, keys, window, types) in [
        ("llama", json!({"sliding_window": 5}), None, [Full; 3]),
        ("mistral", json!({}), Some(4096), [Sliding; 3]),
        (
            "mistral",
            json!({"sliding_window": 5}),
            Some(5),
            [Sliding; 3],
        ),
        ("mistral", json!({"sliding_window": null}), None, [Full; 3]),
        ("qwen2", json!({"sliding_window": 5}), None, [Full; 3]),
        (
            "qwen2",
            json!({"sliding_window": 5, "max_window_layers": 1, "use_sliding_window": false}),
            None,
            [Full; 3],
        ),
        (
            "qwen2",
            json!({"sliding_window": 5, "max_window_layers": 1, "use_sliding_window": true}),
            Some(5),
            [Full, Sliding, Sliding],
        ),
        (
            "qwen3",
            json!({"use_sliding_window": true}),
            Some(4096),
            [Full; 3],
        ),
        (
            "qwen3",
            json!({"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 0,
                "layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
            Some(5),
            [Full, Sliding, Full],
        ),
        ("gemma2", json!({}), Some(4096), [Sliding, Full, Sliding]),
        (
            "gemma2",
            json!({"sliding_window": 5, "layer_types":
                ["full_attention", "full_attention", "sliding_attention"]}),
            Some(5),
            [Full, Full, Sliding],
        ),
    ] {
        let config = with(family, keys.clone()).unwrap();
        assert_eq!(config.sliding_window, window, "{family} {keys}");
        assert_eq!(config.layer_types, types, "{family} {keys}");
        for (layer, kind) in (0..).zip(types) {
            let expected = window.filter(|_| kind == Sliding);
            assert_eq!(config.scoring(layer).window, expected);
        }
    }
}

#[test]
fn caps_and_the_scale_of_scores_are_gemmas_alone_and_a_cap_may_be_null() {
    let config = with("gemma2", json!({})).unwrap();
    let scoring = config.scoring(0);
    assert_eq!(scoring.scale, Some(1.0 / 16.0));
    assert_eq!(scoring.softcap, Some(SoftCap(50.0)));
    assert_eq!(config.final_logit_softcapping, Some(SoftCap(30.0)));
    let keys = json!({"attn_logit_softcapping": null, "final_logit_softcapping": null,
        "query_pre_attn_scalar": 4});
    let without = with("gemma2", keys.clone()).unwrap();
    assert_eq!(without.scoring(1).scale, Some(0.5));
    assert_eq!(without.scoring(1).softcap, None);
    assert_eq!(without.final_logit_softcapping, None);
    let qwen = with("qwen3", keys).unwrap();
    assert_eq!(qwen.scoring(1), Default::default());
}

#[test]
fn biases_and_norms_are_the_tensors_that_transformers_has() {
    for (family, keys, biases) in [
        ("llama", json!({}), ""),
        ("llama", json!({"attention_bias": true}), "k o q v"),
        ("llama", json!({"mlp_bias": true}), "down gate up"),
        (
            "mistral",
            json!({"attention_bias": true, "mlp_bias": true}),
            "",
        ),
        ("qwen2", json!({"attention_bias": false}), "k q v"),
        ("qwen3", json!({}), ""),
        ("qwen3", json!({"attention_bias": true}), "k o q v"),
        (
            "gemma2",
            json!({"attention_bias": true, "mlp_bias": true}),
            "k o q v",
        ),
    ] {
        let config = with(family, keys.clone()).unwrap();
        let mut found: Vec<String> = config
            .tensors()
            .into_iter()
            .filter(|tensor| tensor.name.starts_with("model.layers.1."))
            .filter_map(|tensor| Some(tensor.name.strip_suffix("_proj.bias")?.to_owned()))
            .map(|name| name.rsplit('.').next().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found.join(" "), biases, "{family} {keys}");
    }
    for (family, norms) in [("llama", 2), ("mistral", 2), ("qwen3", 4), ("gemma2", 4)] {
        let tensors = with(family, json!({})).unwrap().tensors();
        let of_layer = tensors.iter().filter(|it| it.name.contains(".2."));
        let found = of_layer.filter(|it| it.name.contains("norm")).count();
        assert_eq!(found, norms, "{family}");
    }
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

#[test]
fn what_is_not_computed_or_means_nothing_is_refused_by_key() {
    for (family, keys, said) in [
        (
            "gemma3",
            json!({}),
            "model_type is \"gemma3\"; supported are RoBERTa (\"roberta\"), BERT (\"bert\"), GPT-2 \
             (\"gpt2\"), Llama (\"llama\"), Mistral (\"mistral\"), Qwen2 (\"qwen2\"), Qwen3 \
             (\"qwen3\") and Gemma 2 (\"gemma2\")",
        ),
        ("qwen2_moe", json!({}), "model_type is \"qwen2_moe\""),
        (
            "mistral",
            json!({"sliding_window": 0}),
            "sliding_window is 0; it must be a whole number",
        ),
        (
            "mistral",
            json!({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
            "layer_types are not all sliding_attention",
        ),
        (
            "qwen2",
            json!({"layer_types": ["full_attention", "full_attention", "chunked_attention"]}),
            "layer_types is \"chunked_attention\"; supported are full_attention and \
             sliding_attention",
        ),
        (
            "qwen2",
            json!({"layer_types": ["full_attention"]}),
            "it must name the types of 3 layers (num_hidden_layers)",
        ),
        (
            "qwen2",
            json!({"layer_types": "full_attention"}),
            "it must name the types of 3 layers",
        ),
        (
            "qwen3",
            json!({"layer_types": ["full_attention", "full_attention", "sliding_attention"]}),
            "layers are of type sliding_attention, but there is no window: use_sliding_window \
             must be true",
        ),
        (
            "qwen3",
            json!({"use_sliding_window": 1}),
            "use_sliding_window is 1; it must be true",
        ),
        (
            "qwen3",
            json!({"max_window_layers": -1}),
            "max_window_layers is -1",
        ),
        (
            "qwen3",
            json!({"head_dim": 7}),
            "head_dim is 7; it must be even",
        ),
        (
            "gemma2",
            json!({"sliding_window": null}),
            "sliding_window must be a number",
        ),
        (
            "gemma2",
            json!({"attn_logit_softcapping": 0}),
            "attn_logit_softcapping is 0; it must be a number above 0, or null",
        ),
        (
            "gemma2",
            json!({"final_logit_softcapping": "30"}),
            "final_logit_softcapping is \"30\"",
        ),
        (
            "gemma2",
            json!({"query_pre_attn_scalar": 0}),
            "query_pre_attn_scalar is 0",
        ),
        (
            "gemma2",
            json!({"use_bidirectional_attention": true}),
            "use_bidirectional_attention is true; attention to later tokens: not supported",
        ),
        (
            "gemma2",
            json!({"rope_parameters": {"sliding_attention": {"rope_theta": 1e4}}}),
            "rope_parameters: it has other positions for layers of sliding_attention",
        ),
        (
            "gemma2",
            json!({"pad_token_id": 50}),
            "pad_token_id is 50; it must be one of the 50",
        ),
    ] {
        let mut all = small(family);
        all.extend(object_of(keys));
        let error = parse(&all).unwrap_err().to_string();
        let right = error.starts_with("config.json: ") && error.contains(said);
        assert!(right, "{family}: {error}");
    }
    for family in FAMILIES {
        let keys = json!({"quantization_config": {"bits": 4}});
        let error = with(family, keys).unwrap_err().to_string();
        assert!(error.contains("quantization_config is"), "{error}");
    }
}

#[test]
fn an_example_needs_more_memory_where_scores_are_capped_and_kept() {
    let bytes = |family: &str, keys: Value, tokens| {
        let config = with(family, keys).unwrap();
        config.activation_bytes(tokens) as f64
    };
    let uncapped = json!({"attn_logit_softcapping": null});
    let longer = |keys: &Value| {
        let of = |tokens| bytes("gemma2", keys.clone(), tokens);
        of(200) / of(100)
    };
    assert_eq!(longer(&uncapped), 2.0);
    assert!(longer(&json!({})) > 2.5);
    assert!(bytes("gemma2", uncapped, 10) > bytes("mistral", json!({}), 10));
    assert!(bytes("qwen3", json!({}), 10) > bytes("qwen2", json!({}), 10));
}
