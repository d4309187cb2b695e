//! Files of architectures other than Llama's.

use serde_json::Value;

use crate::model::source::gguf::file::tests::{changed, open, read_all, refused};
use crate::model::source::gguf::metadata::MetadataValue::{F32, Text, Unsigned};
use crate::model::source::gguf::sample::GgufSample;

/// The Llama's file as one of another architecture, with more tensors.
fn of_architecture(name: &str, more: &[(&str, u64)]) -> GgufSample {
    let mut sample = GgufSample::llama();
    for (key, _) in &mut sample.keys {
        if let Some(own) = key.strip_prefix("llama.") {
            *key = format!("{name}.{own}");
        }
    }
    sample.key("general.architecture", Text(name.into()));
    for (tensor, values) in more {
        sample.floats(tensor, &[*values]);
    }
    sample
}

const QWEN2_BIASES: [(&str, u64); 3] = [
    ("blk.0.attn_q.bias", 8),
    ("blk.0.attn_k.bias", 4),
    ("blk.0.attn_v.bias", 4),
];

const QWEN3_NORMS: [(&str, u64); 2] = [
    ("blk.0.attn_q_norm.weight", 4),
    ("blk.0.attn_k_norm.weight", 4),
];

const GEMMA2_NORMS: [(&str, u64); 2] = [
    ("blk.0.post_attention_norm.weight", 8),
    ("blk.0.post_ffw_norm.weight", 8),
];

#[test]
fn files_of_other_architectures_have_all_weights_of_their_models() {
    for (name, more) in [
        ("qwen2", &QWEN2_BIASES[..]),
        ("qwen3", &QWEN3_NORMS),
        ("gemma2", &GEMMA2_NORMS),
    ] {
        let sample = of_architecture(name, more);
        let tensors = read_all(&sample).unwrap();
        assert_eq!(tensors.iter().count(), 11 + more.len(), "{name}");
        // Rows lie as they are.
        let query = tensors.get("model.layers.0.self_attn.q_proj.weight");
        let query = query.unwrap().values();
        assert_eq!((query[8], query[63]), (8.0, 63.0), "{name}");
        let error = read_all(&of_architecture(name, &more[1..])).unwrap_err();
        let missing = format!("tensor `{}`: it is missing", more[0].0);
        assert!(error.contains(&missing), "{error}");
        let error = read_all(&of_architecture("llama", more)).unwrap_err();
        assert!(error.contains("tensor `blk.0."), "{error}");
    }
}

#[test]
fn norms_that_are_stored_as_one_more_are_read_as_transformers_has_them() {
    let file = open(&of_architecture("gemma2", &GEMMA2_NORMS)).unwrap();
    let norms = [
        "layers.0.input_layernorm",
        "layers.0.post_attention_layernorm",
        "layers.0.pre_feedforward_layernorm",
        "layers.0.post_feedforward_layernorm",
        "norm",
    ];
    for norm in norms {
        let values = file.read(&format!("model.{norm}.weight")).unwrap();
        assert_eq!(values.values(), [-1., 0., 1., 2., 3., 4., 5., 6.], "{norm}");
    }
    let embeddings = file.read("model.embed_tokens.weight").unwrap();
    assert_eq!(embeddings.values()[..2], [0.0, 1.0]);
}

#[test]
fn gemma_2_has_its_caps_and_window_and_a_scale_of_scores() {
    let mut sample = of_architecture("gemma2", &GEMMA2_NORMS);
    let config = open(&sample).unwrap().config().clone();
    let right = serde_json::json!({
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 4, "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "vocab_size": 3, "tie_word_embeddings": true, "eos_token_id": null,
        "pad_token_id": null, "query_pre_attn_scalar": 4, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0
    });
    assert_eq!(Value::Object(config), right);
    for (name, value) in [
        ("attention.sliding_window", Unsigned(7)),
        ("attn_logit_softcapping", F32(20.0)),
        ("final_logit_softcapping", F32(10.0)),
        ("attention.key_length", Unsigned(4)),
    ] {
        sample.key(&format!("gemma2.{name}"), value);
    }
    let config = open(&sample).unwrap().config().clone();
    assert_eq!(config["sliding_window"], 7);
    assert_eq!(config["attn_logit_softcapping"], 20.0);
    assert_eq!(config["final_logit_softcapping"], 10.0);
    refused(
        &changed("llama.attention.sliding_window", Unsigned(7)),
        "key `llama.attention.sliding_window`: it may change what the model computes",
    );
}

#[test]
fn the_largest_gemma_2_is_known_by_its_layers_and_has_a_scale_of_its_own() {
    let mut sample = of_architecture("gemma2", &GEMMA2_NORMS);
    sample.key("gemma2.attention.key_length", Unsigned(8));
    let scalar = |sample: &GgufSample| {
        let config = open(sample).unwrap().config().clone();
        config["query_pre_attn_scalar"].clone()
    };
    assert_eq!(scalar(&sample), 8, "the width of a head");
    for layer in 1..46 {
        sample.floats(&format!("blk.{layer}.attn_norm.weight"), &[8]);
    }
    sample.key("gemma2.block_count", Unsigned(46));
    assert_eq!(scalar(&sample), 4, "the model's width by heads");
}
