//! The metadata of a GGUF file, to what the `config.json` of the same model says.

use serde_json::{Map, Value, json};

use crate::model::config::keys::object_of;
use crate::model::source::gguf::architecture::GgufArchitecture;
use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::header::GgufHeader;
use crate::model::source::gguf::metadata::GgufMetadata;
use crate::model::source::gguf::rope;

/// Keys of every architecture that are read here or in [`rope`], or change nothing.
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

/// The number of a model's layers.
///
/// # Errors
/// If there are fewer tensors than layers.
pub(crate) fn layers(
    header: &GgufHeader,
    architecture: &GgufArchitecture,
) -> Result<u64, GgufError> {
    let metadata = &header.metadata;
    let layers = architecture.size(metadata, "block_count")?;
    let tensors = header.tensors.len();
    if layers > tensors as u64 {
        let reason = format!("it is {layers}, but the file has only {tensors} tensors");
        return Err(metadata.wrong(&architecture.key("block_count"), reason));
    }
    Ok(layers)
}

/// The configuration as transformers' classes have it. `factors` are the values of the tensor
/// `rope_freqs.weight`, where there is one.
///
/// # Errors
/// If a key is missing, of another type, or asks for what is not supported.
pub(crate) fn config(
    header: &GgufHeader,
    architecture: &GgufArchitecture,
    factors: Option<&[f32]>,
) -> Result<Map<String, Value>, GgufError> {
    let metadata = &header.metadata;
    refuse_unknown(metadata, architecture)?;
    let size = |name| architecture.size(metadata, name);
    let (hidden, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let kv_heads = architecture.optional_size(metadata, "attention.head_count_kv")?;
    let theta = metadata.float(&architecture.key("rope.freq_base"))?;
    let theta = theta.unwrap_or(10_000.0);
    let epsilon = architecture.key("attention.layer_norm_rms_epsilon");
    let epsilon = metadata.required(&epsilon, metadata.float(&epsilon)?)?;
    let has = |name: &str| header.tensors.iter().any(|tensor| tensor.name == name);
    let mut config = json!({
        "architectures": [architecture.class],
        "model_type": architecture.name,
        "hidden_size": hidden,
        "intermediate_size": size("feed_forward_length")?,
        "num_hidden_layers": size("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads.unwrap_or(heads),
        "head_dim": head_size(metadata, architecture, hidden, heads)?,
        "max_position_embeddings": size("context_length")?,
        "rms_norm_eps": epsilon,
        "rope_theta": theta,
        "vocab_size": vocabulary(header, hidden)?,
        "tie_word_embeddings": !has("output.weight"),
    });
    if let Some(scaling) = rope::scaling(metadata, architecture, theta, factors)? {
        config["rope_scaling"] = scaling;
    }
    // Without a key, transformers takes the number that the family's own tokenizer has.
    config["eos_token_id"] = Value::Null;
    for (ours, theirs) in SPECIAL_TOKENS {
        if let Some(id) = metadata.count(theirs)? {
            config[ours] = id.into();
        }
    }
    let mut config = object_of(config);
    config.extend(match architecture.name {
        "gemma2" => gemma2(metadata, architecture, &config)?,
        "qwen2" => object_of(json!({"hidden_act": "silu", "use_sliding_window": false})),
        "qwen3" => object_of(json!({
            "hidden_act": "silu",
            "use_sliding_window": false,
            "attention_bias": has("blk.0.attn_q.bias"),
        })),
        _ => object_of(json!({
            "hidden_act": "silu",
            "attention_bias": has("blk.0.attn_q.bias"),
            "mlp_bias": has("blk.0.ffn_gate.bias"),
        })),
    });
    Ok(config)
}

/// What a file has of Gemma 2's own keys. It does not have the scale of scores: llama.cpp tells the
/// one model that has another than its heads' width by the number of its layers.
fn gemma2(
    metadata: &GgufMetadata,
    architecture: &GgufArchitecture,
    config: &Map<String, Value>,
) -> Result<Map<String, Value>, GgufError> {
    const LAYERS_OF_27B: u64 = 46;
    let count = |key: &str| config.get(key).and_then(Value::as_u64).unwrap_or(0);
    let scalar = match count("num_hidden_layers") {
        LAYERS_OF_27B => count("hidden_size") / count("num_attention_heads").max(1),
        _ => count("head_dim"),
    };
    let window = architecture.optional_size(metadata, "attention.sliding_window")?;
    let cap = |name: &str| metadata.float(&architecture.key(name));
    let padding = config.get("pad_token_id").cloned();
    Ok(object_of(json!({
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scalar,
        "sliding_window": window.unwrap_or(4096),
        "attn_logit_softcapping": cap("attn_logit_softcapping")?.unwrap_or(50.0),
        "final_logit_softcapping": cap("final_logit_softcapping")?.unwrap_or(30.0),
        "pad_token_id": padding.unwrap_or(Value::Null),
    })))
}

/// Refuses what may change the model and is not known here.
fn refuse_unknown(
    metadata: &GgufMetadata,
    architecture: &GgufArchitecture,
) -> Result<(), GgufError> {
    let prefix = architecture.key("");
    for key in metadata.keys() {
        let Some(name) = key.strip_prefix(&prefix) else {
            continue;
        };
        let known = [&KNOWN[..], &WITHOUT_EFFECT, architecture.keys];
        if !known.iter().any(|names| names.contains(&name)) {
            let reason = "it may change what the model computes, and is not supported";
            return Err(metadata.wrong(key, reason));
        }
    }
    let key = architecture.key("expert_count");
    match metadata.count(&key)? {
        None | Some(0) => Ok(()),
        Some(count) => {
            let reason = format!("a mixture of {count} experts is not supported");
            Err(metadata.wrong(&key, reason))
        }
    }
}

/// The size of a head: the same for keys and values, and turned as a whole by its position.
fn head_size(
    metadata: &GgufMetadata,
    architecture: &GgufArchitecture,
    hidden: u64,
    heads: u64,
) -> Result<u64, GgufError> {
    let optional = |name| architecture.optional_size(metadata, name);
    let size = optional("attention.key_length")?.unwrap_or(hidden / heads);
    for name in ["attention.value_length", "rope.dimension_count"] {
        let other = optional(name)?;
        if let Some(other) = other.filter(|other| *other != size) {
            let reason = format!("it is {other}, expected {size}, the size of a head");
            return Err(metadata.wrong(&architecture.key(name), reason));
        }
    }
    if size == 0 || !size.is_multiple_of(2) {
        let reason = format!("heads have {size} values each, expected a positive even number");
        return Err(metadata.wrong(&architecture.key("attention.head_count"), reason));
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
