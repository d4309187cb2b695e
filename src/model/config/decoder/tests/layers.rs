//! Which layers have which windows, caps and tensors.

use serde_json::{Value, json};

use crate::model::architecture::Architecture;
use crate::model::config::decoder::tests::{parse, with};
use crate::model::config::keys::object_of;
use crate::model::decoder::rotary::config::LayerType;
use crate::model::layers::soft_cap::SoftCap;

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
fn an_example_needs_more_memory_where_scores_are_kept() {
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
    // The kernel that drops probabilities knows no window and no other scale.
    let scaled = json!({"attn_logit_softcapping": null, "attention_dropout": 0.1});
    assert!(longer(&scaled) > 2.5);
    let windowed = |window: i64, dropout: f64| {
        let keys = json!({"sliding_window": window, "attention_dropout": dropout});
        let of = |tokens| bytes("mistral", keys.clone(), tokens);
        of(200) / of(100)
    };
    assert_eq!(windowed(50, 0.0), 2.0);
    assert_eq!(windowed(200, 0.1), 2.0);
    assert!(windowed(50, 0.1) > 2.5);
    assert!(bytes("gemma2", uncapped, 10) > bytes("mistral", json!({}), 10));
    assert!(bytes("qwen3", json!({}), 10) > bytes("qwen2", json!({}), 10));
}

#[test]
fn well_known_sizes_have_the_parameters_that_are_said_of_them() {
    for (name, keys, parameters) in [
        (
            "Mistral-7B-v0.1",
            json!({"model_type": "mistral"}),
            7_241_732_096,
        ),
        (
            "Qwen2.5-0.5B",
            json!({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
                "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                "tie_word_embeddings": true}),
            494_032_768,
        ),
        (
            "Qwen3-0.6B",
            json!({"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
                "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
                "tie_word_embeddings": true}),
            596_049_920,
        ),
        ("gemma-2-2b", json!({"model_type": "gemma2"}), 2_614_341_888),
    ] {
        let config = parse(&object_of(keys)).unwrap();
        let architecture: &dyn Architecture = &config;
        assert_eq!(architecture.base_weights(), parameters, "{name}");
    }
}
