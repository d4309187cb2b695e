//! The metadata of a GGUF file, to what the `config.json` of the same model says.

use serde_json::{Map, Value, json};

use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::header::GgufHeader;
use crate::model::source::gguf::metadata::GgufMetadata;
use crate::model::source::gguf::rope;

/// The key of the architecture.
const ARCHITECTURE: &str = "general.architecture";

/// Keys of architecture `llama` that are read here or in [`rope`], or change nothing.
const KNOWN: [&str; 18] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
];

/// Keys without effect here: one counts experts that are used, which are refused, and one names
/// the layout of rows that all files have.
const WITHOUT_EFFECT: [&str; 2] = ["expert_used_count", "tensor_data_layout"];

/// Ids of special tokens, in a `config.json` and here.
const SPECIAL_TOKENS: [(&str, &str); 3] = [
    ("bos_token_id", "tokenizer.ggml.bos_token_id"),
    ("eos_token_id", "tokenizer.ggml.eos_token_id"),
    ("pad_token_id", "tokenizer.ggml.padding_token_id"),
];

/// Checks that a file holds a model of an architecture that is supported, and gives the number of
/// its layers.
///
/// # Errors
/// If it does not, or has fewer tensors than layers.
pub(crate) fn layers(header: &GgufHeader) -> Result<u64, GgufError> {
    let metadata = &header.metadata;
    let architecture = metadata.text(ARCHITECTURE)?;
    let architecture = metadata.required(ARCHITECTURE, architecture)?;
    if architecture != "llama" {
        let reason = format!("`{architecture}` is not supported; supported is llama");
        return Err(metadata.wrong(ARCHITECTURE, reason));
    }
    let layers = size(metadata, "block_count")?;
    let tensors = header.tensors.len();
    if layers > tensors as u64 {
        let reason = format!("it is {layers}, but the file has only {tensors} tensors");
        return Err(metadata.wrong("llama.block_count", reason));
    }
    Ok(layers)
}

/// The configuration as transformers' `LlamaConfig` has it. `factors` are the values of the
/// tensor `rope_freqs.weight`, where there is one.
///
/// # Errors
/// If a key is missing, of another type, or asks for what is not supported.
pub(crate) fn llama(
    header: &GgufHeader,
    factors: Option<&[f32]>,
) -> Result<Map<String, Value>, GgufError> {
    let metadata = &header.metadata;
    refuse_unknown(metadata)?;
    let (hidden, heads) = (
        size(metadata, "embedding_length")?,
        size(metadata, "attention.head_count")?,
    );
    let kv_heads = optional_size(metadata, "attention.head_count_kv")?.unwrap_or(heads);
    let head_size = head_size(metadata, hidden, heads)?;
    let theta = metadata.float("llama.rope.freq_base")?.unwrap_or(10_000.0);
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    let epsilon = metadata.required(epsilon, metadata.float(epsilon)?)?;
    let has = |name: &str| header.tensors.iter().any(|tensor| tensor.name == name);
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": size(metadata, "feed_forward_length")?,
        "num_hidden_layers": size(metadata, "block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_size,
        "max_position_embeddings": size(metadata, "context_length")?,
        "rms_norm_eps": epsilon,
        "rope_theta": theta,
        "vocab_size": vocabulary(header, hidden)?,
        "attention_bias": has("blk.0.attn_q.bias"),
        "mlp_bias": has("blk.0.ffn_gate.bias"),
        "tie_word_embeddings": !has("output.weight"),
    });
    if let Some(scaling) = rope::scaling(metadata, theta, factors)? {
        config["rope_scaling"] = scaling;
    }
    // Without a key, transformers takes the number that Llama's own tokenizer has.
    config["eos_token_id"] = Value::Null;
    for (ours, theirs) in SPECIAL_TOKENS {
        if let Some(id) = metadata.count(theirs)? {
            config[ours] = id.into();
        }
    }
    Ok(match config {
        Value::Object(config) => config,
        _ => Map::new(),
    })
}

/// Refuses what may change the model and is not known here.
fn refuse_unknown(metadata: &GgufMetadata) -> Result<(), GgufError> {
    for key in metadata.keys() {
        let Some(name) = key.strip_prefix("llama.") else {
            continue;
        };
        if !KNOWN.contains(&name) && !WITHOUT_EFFECT.contains(&name) {
            let reason = "it may change what the model computes, and is not supported";
            return Err(metadata.wrong(key, reason));
        }
    }
    let key = "llama.expert_count";
    match metadata.count(key)? {
        None | Some(0) => Ok(()),
        Some(count) => {
            let reason = format!("a mixture of {count} experts is not supported");
            Err(metadata.wrong(key, reason))
        }
    }
}

/// A size of the architecture, which is positive.
fn size(metadata: &GgufMetadata, name: &str) -> Result<u64, GgufError> {
    let size = optional_size(metadata, name)?;
    metadata.required(&format!("llama.{name}"), size)
}

fn optional_size(metadata: &GgufMetadata, name: &str) -> Result<Option<u64>, GgufError> {
    let key = format!("llama.{name}");
    let size = metadata.count(&key)?;
    if size == Some(0) {
        return Err(metadata.wrong(&key, "it is 0, expected a positive number"));
    }
    Ok(size)
}

/// The size of a head: the same for keys and values, and turned as a whole by its position.
fn head_size(metadata: &GgufMetadata, hidden: u64, heads: u64) -> Result<u64, GgufError> {
    let size = optional_size(metadata, "attention.key_length")?.unwrap_or(hidden / heads);
    for name in ["attention.value_length", "rope.dimension_count"] {
        let other = optional_size(metadata, name)?;
        if let Some(other) = other.filter(|other| *other != size) {
            let reason = format!("it is {other}, expected {size}, the size of a head");
            return Err(metadata.wrong(&format!("llama.{name}"), reason));
        }
    }
    if size == 0 || !size.is_multiple_of(2) {
        let reason = format!("heads have {size} values each, expected a positive even number");
        return Err(metadata.wrong("llama.attention.head_count", reason));
    }
    Ok(size)
}

/// The number of tokens that have an embedding, of `hidden` values each.
fn vocabulary(header: &GgufHeader, hidden: u64) -> Result<i64, GgufError> {
    let name = "token_embd.weight";
    let embedding = header.tensors.iter().find(|tensor| tensor.name == name);
    let path = header.metadata.path();
    let embedding = embedding
        .ok_or_else(|| GgufError::tensor(path, name, "it is missing, and every model has one"))?;
    match embedding.shape[..] {
        [tokens, size] if size as u64 == hidden => Ok(tokens),
        _ => {
            let shape = &embedding.shape;
            let reason = format!("it has shape {shape:?}, expected [tokens, {hidden}]");
            Err(GgufError::tensor(path, name, reason))
        }
    }
}
