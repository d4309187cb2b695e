mod architectures;

use super::*;
use crate::base::tensors::TensorMap;
use crate::model::source::gguf::metadata::MetadataValue;
use crate::model::source::gguf::metadata::MetadataValue::{Array, F32, Signed, Text, Unsigned};
use crate::model::source::gguf::sample::GgufSample;
use crate::model::source::gguf::tokenizer::TokenKind;

fn open(sample: &GgufSample) -> Result<GgufFile, GgufError> {
    let folder = tempfile::tempdir().unwrap();
    GgufFile::open(&sample.write(folder.path()))
}

#[track_caller]
fn refused(sample: &GgufSample, expected: &str) {
    let error = open(sample).unwrap_err().to_string();
    assert!(
        error.contains("a.gguf: ") && error.contains(expected),
        "{error}"
    );
}

fn changed(key: &str, value: MetadataValue) -> GgufSample {
    let mut sample = GgufSample::llama();
    sample.key(key, value);
    sample
}

#[test]
fn the_configuration_is_that_of_a_config_json() {
    let mut sample = GgufSample::llama();
    sample.key("llama.rope.freq_base", F32(1e5));
    sample.key("tokenizer.ggml.bos_token_id", Unsigned(1));
    sample.key("tokenizer.ggml.eos_token_id", Unsigned(2));
    sample.key("tokenizer.ggml.padding_token_id", Unsigned(2));
    let file = open(&sample).unwrap();
    let right = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "rope_theta": 1e5,
        "vocab_size": 3, "attention_bias": false, "mlp_bias": false,
        "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2
    });
    assert_eq!(Value::Object(file.config().clone()), right);
}

#[test]
fn what_may_be_absent_has_its_default_and_what_is_there_is_told() {
    let mut sample = GgufSample::llama().without("llama.attention.head_count_kv");
    let key = sample
        .tensors
        .iter_mut()
        .find(|row| row.0 == "blk.0.attn_k.weight");
    *key.unwrap() = ("blk.0.attn_k.bias".into(), vec![8], 0, vec![0; 32]);
    sample.floats("output.weight", &[8, 3]);
    sample.floats("blk.0.attn_q.bias", &[8]);
    let file = open(&sample).unwrap();
    assert_eq!(file.config()["num_key_value_heads"], 2);
    assert_eq!(file.config()["rope_theta"], 1e4);
    assert_eq!(file.config()["tie_word_embeddings"], false);
    assert_eq!(file.config()["attention_bias"], true);
    assert!(!file.config().contains_key("bos_token_id"));
    assert_eq!(file.config()["eos_token_id"], Value::Null);
    assert!(!file.config().contains_key("rope_scaling"));
}

#[test]
fn queries_and_keys_have_their_rows_in_halves_and_others_as_they_are() {
    let file = open(&GgufSample::llama()).unwrap();
    let first_of_rows = |name: &str| -> Vec<f32> {
        let tensor = file.read(name).unwrap();
        let width = tensor.shape()[1] as usize;
        tensor
            .values()
            .iter()
            .step_by(width)
            .map(|first| first / width as f32)
            .collect()
    };
    let q = first_of_rows("model.layers.0.self_attn.q_proj.weight");
    assert_eq!(q, [0., 2., 1., 3., 4., 6., 5., 7.]);
    let k = first_of_rows("model.layers.0.self_attn.k_proj.weight");
    assert_eq!(k, [0., 2., 1., 3.]);
    let v = first_of_rows("model.layers.0.self_attn.v_proj.weight");
    assert_eq!(v, [0., 1., 2., 3.]);
    let down = file.read("model.layers.0.mlp.down_proj.weight").unwrap();
    assert_eq!(down.shape(), [8, 12]);
    assert_eq!(down.values()[95], 95.0);
    assert_eq!(file.parameters().count(), 11);
    let error = file.read("lm_head.weight").unwrap_err().to_string();
    assert!(
        error.contains("tensor `lm_head.weight`: it is missing"),
        "{error}"
    );
}

#[test]
fn models_that_are_not_supported_are_refused_by_key() {
    let text = |text: &str| Text(text.into());
    for (key, value, expected) in [
        (
            "general.architecture",
            text("gemma3"),
            "`gemma3` is not supported; supported are llama, qwen2, qwen3, gemma2",
        ),
        (
            "llama.block_count",
            Unsigned(0),
            "it is 0, expected a positive number",
        ),
        (
            "llama.block_count",
            Signed(-1),
            "expected an integer that is not negative",
        ),
        (
            "llama.block_count",
            Unsigned(1 << 60),
            "the file has only 11 tensors",
        ),
        ("llama.expert_count", Unsigned(8), "a mixture of 8 experts"),
        (
            "llama.attention.scale",
            F32(0.5),
            "it may change what the model computes",
        ),
        (
            "llama.attention.value_length",
            Unsigned(8),
            "it is 8, expected 4",
        ),
        (
            "llama.rope.dimension_count",
            Unsigned(2),
            "it is 2, expected 4",
        ),
        (
            "llama.attention.head_count",
            Unsigned(9),
            "heads have 0 values each",
        ),
        (
            "llama.attention.head_count",
            Array(vec![Unsigned(2)]),
            "it is an array, expected",
        ),
        (
            "llama.rope.freq_base",
            F32(f32::INFINITY),
            "expected a finite",
        ),
    ] {
        let sample = changed(key, value);
        refused(&sample, &format!("key `{key}`: "));
        refused(&sample, expected);
    }
    for key in ["general.architecture", "llama.embedding_length"] {
        refused(
            &GgufSample::llama().without(key),
            &format!("key `{key}`: it is missing"),
        );
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    refused(
        &changed("llama.attention.head_count", Unsigned(4)),
        "tensor `blk.0.attn_k.weight`: it has 4 rows, expected 2",
    );
    let mut sample = GgufSample::llama();
    sample.floats("blk.0.ffn_gate_inp.weight", &[8]);
    refused(
        &sample,
        "tensor `blk.0.ffn_gate_inp.weight`: it is not one of",
    );
    let mut sample = GgufSample::llama();
    sample.tensors.remove(0);
    refused(&sample, "tensor `token_embd.weight`: it is missing");
    sample.floats("token_embd.weight", &[8]);
    refused(
        &sample,
        "tensor `token_embd.weight`: it has shape [8], expected [tokens, 8]",
    );
}

/// What comes of all the weights of a model.
fn read_all(sample: &GgufSample) -> Result<TensorMap, String> {
    let file = open(sample).map_err(|error| error.to_string())?;
    let architecture = file.architecture().map_err(|error| error.to_string())?;
    let mut tensors = TensorMap::default();
    let read = file.read_each(&architecture.base_tensors(), |name, tensor| {
        tensors.insert(name, tensor);
    });
    let tensors = read.map(|()| tensors);
    tensors.map_err(|error| error.to_string())
}

#[test]
fn all_weights_are_those_of_the_model_and_no_others() {
    let tensors = read_all(&GgufSample::llama()).unwrap();
    assert_eq!(tensors.iter().count(), 11);
    let without = |name: &str| {
        let mut sample = GgufSample::llama();
        sample.tensors.retain(|row| row.0 != name);
        sample
    };
    let mut other_shape = without("blk.0.ffn_up.weight");
    other_shape.floats("blk.0.ffn_up.weight", &[8, 16]);
    let mut one_bias = GgufSample::llama();
    one_bias.floats("blk.0.attn_k.bias", &[4]);
    for (sample, expected) in [
        (
            without("blk.0.attn_q.weight"),
            "tensor `blk.0.attn_q.weight`: it is missing, and the model needs it",
        ),
        (
            without("output_norm.weight"),
            "tensor `output_norm.weight`: it is missing",
        ),
        (
            other_shape,
            "tensor `blk.0.ffn_up.weight`: it has shape [16, 8], expected [12, 8]",
        ),
        (
            one_bias,
            "tensor `blk.0.attn_k.bias`: the model that the keys of the file describe has none",
        ),
    ] {
        let error = read_all(&sample).unwrap_err();
        assert!(
            error.contains("a.gguf: ") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn factors_of_rotary_frequencies_are_read_into_the_configuration() {
    let mut sample = GgufSample::llama();
    let ones = [1f32; 2].iter().flat_map(|one| one.to_le_bytes()).collect();
    sample
        .tensors
        .push(("rope_freqs.weight".into(), vec![2], 0, ones));
    assert!(!open(&sample).unwrap().config().contains_key("rope_scaling"));
    sample.tensors.pop();
    sample.floats("rope_freqs.weight", &[2]);
    refused(&sample, "tensor `rope_freqs.weight`: these factors");
}

#[test]
fn a_missing_file_is_named() {
    let error = GgufFile::open(Path::new("nowhere.gguf")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read nowhere.gguf: "));
}

fn with_tokenizer() -> GgufSample {
    let texts = |all: &[&str]| Array(all.iter().map(|&it| Text(it.into())).collect());
    let mut sample = changed("tokenizer.ggml.model", Text("gpt2".into()));
    sample.key("tokenizer.ggml.tokens", texts(&["<eos>", "a", "b"]));
    let kinds = [3, 1, 4].map(Signed).to_vec();
    sample.key("tokenizer.ggml.token_type", Array(kinds));
    sample.key("tokenizer.ggml.merges", texts(&["a b"]));
    sample.key("tokenizer.ggml.eos_token_id", Unsigned(0));
    sample
}

#[test]
fn the_tokenizer_comes_in_parts() {
    let mut sample = with_tokenizer();
    sample.key("tokenizer.chat_template", Text("{{ messages }}".into()));
    let file = open(&sample).unwrap();
    let parts = file.tokenizer_parts().unwrap();
    assert_eq!(parts.tokens, ["<eos>", "a", "b"]);
    let kinds = [TokenKind::Control, TokenKind::Normal, TokenKind::Added];
    assert_eq!(parts.kinds, kinds);
    assert_eq!((parts.bos, parts.eos), (None, Some(0)));
    assert_eq!(parts.merges, ["a b"]);
    assert_eq!(file.chat_template().unwrap(), Some("{{ messages }}"));
}

#[test]
fn parts_of_a_tokenizer_that_do_not_fit_are_refused_by_key() {
    for (key, value) in [
        ("tokenizer.ggml.tokens", Array(vec![Unsigned(1)])),
        ("tokenizer.ggml.token_type", Array(vec![Signed(1)])),
        (
            "tokenizer.ggml.token_type",
            Array([1, 1, 7].map(Signed).to_vec()),
        ),
        ("tokenizer.ggml.eos_token_id", Unsigned(3)),
        ("tokenizer.ggml.add_bos_token", Unsigned(1)),
    ] {
        let mut sample = with_tokenizer();
        sample.key(key, value);
        let error = open(&sample).unwrap().tokenizer_parts().unwrap_err();
        assert!(
            error.to_string().contains(&format!("key `{key}`: ")),
            "{error}"
        );
    }
}

#[test]
fn more_tokens_than_embeddings_are_refused() {
    let mut sample = with_tokenizer();
    sample.tensors.remove(0);
    sample.floats("token_embd.weight", &[8, 2]);
    let error = open(&sample).unwrap().tokenizer_parts().unwrap_err();
    let expected = "key `tokenizer.ggml.tokens`: it has 3 tokens, but the model has 2 embeddings";
    assert!(error.to_string().ends_with(expected), "{error}");
}
