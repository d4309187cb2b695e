//! Small sound files of each kind.

use std::path::Path;

use regatta::base::tensors::index::{TensorInfo, index};
use serde_json::{Map, Value};

use crate::readers;

/// Where something stands in bytes.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

/// The body of a checkpoint of the readers' plan: one that a run wrote, marked with that plan's
/// digest in the place of its own.
pub fn checkpoint() -> Vec<u8> {
    let file = include_bytes!("../fixtures/older_run/run/checkpoints/round-00000001.checkpoint");
    let mut body = file[find(file, b"\n") + 1..].to_vec();
    let key = b"plan\xd9\x40";
    let from = find(&body, key) + key.len();
    body[from..from + 64].copy_from_slice(readers::plan_digest().as_bytes());
    body
}

/// Fields with and without quotation marks, which hold commas, marks and line ends.
pub const CSV: &str = "mr,ref\r\n\"name[Blue Lantern], eatType[pub]\",Blue Lantern is a pub.\r\n\
    name[Willow House],\"It is called \"\"Willow House\"\",\r\nand is a place.\"\r\n";

/// Every key of a GPT-2.
pub const GPT2_CONFIG: &str = r#"{
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50, "n_positions": 16,
    "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": null, "activation_function": "gelu_new",
    "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02, "scale_attn_weights": true, "bos_token_id": 0, "eos_token_id": 0
}"#;

/// Every key of a Llama.
pub const LLAMA_CONFIG: &str = r#"{
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 50,
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "hidden_act": "silu", "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3",
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}, "tie_word_embeddings": true,
    "attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": null
}"#;

/// Every key of a Qwen2, and of a Qwen3.
pub const QWEN_CONFIG: &str = r#"{
    "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 50,
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "hidden_act": "silu", "max_position_embeddings": 32,
    "rms_norm_eps": 1e-6, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": true, "attention_bias": false, "attention_dropout": 0.0,
    "use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1,
    "layer_types": ["full_attention", "sliding_attention"], "eos_token_id": 3
}"#;

/// Every key of a Gemma 2.
pub const GEMMA2_CONFIG: &str = r#"{
    "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "vocab_size": 50,
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": true, "attention_bias": false, "attention_dropout": 0.0,
    "query_pre_attn_scalar": 4, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"],
    "use_bidirectional_attention": null, "pad_token_id": 0, "eos_token_id": [1, 3]
}"#;

/// A list of weights that are all in `part.safetensors`, for the model of the readers.
pub fn weight_map() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/model/roberta-2");
    let path = Path::new(folder).join("model.safetensors");
    let entry = |tensor: TensorInfo| (tensor.name, "part.safetensors".into());
    let map: Map<String, Value> = index(&path).unwrap().into_iter().map(entry).collect();
    serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string()
}

/// What lies beside a `tokenizer.json`.
pub const TOKENIZER_CONFIG: &str = r#"{
    "tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 16,
    "strip_accents": null, "tokenize_chinese_chars": true, "truncation_side": "right",
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"], "split_special_tokens": false,
    "cls_token": "[CLS]", "sep_token": {"content": "[SEP]", "lstrip": false, "rstrip": false,
        "normalized": false, "single_word": false, "__type": "AddedToken"},
    "unk_token": "[UNK]", "pad_token": "[PAD]"
}"#;

/// See [`TOKENIZER_CONFIG`].
pub const SPECIAL_TOKENS: &str = r#"{
    "cls_token": "[CLS]", "sep_token": {"content": "[SEP]", "lstrip": false, "rstrip": false,
        "normalized": false, "single_word": false},
    "additional_special_tokens": ["[CLS]"]
}"#;

/// See [`TOKENIZER_CONFIG`].
pub const ADDED_TOKENS: &str = r#"{"[PAD]": 0, "[UNK]": 1}"#;

/// A sweep of every table that a sweep file may have.
pub const SWEEP: &str = r#"
name = "methods"
scenario = "scenarios/quickstart.toml"
out = "runs/methods"
target = "accuracy=0.8"

[settings]
rounds = 2
lr = 1e-3

[grid]
agg_type = ["ours", "ffa"]
seed = [1, 2]

[[include]]
agg_type = "flora"
seed = 3

[[exclude]]
agg_type = "ffa"
seed = 2
"#;

/// How a run ended.
pub const SUMMARY: &str = r#"{
    "name": "untrusted", "version": "0.1.0", "task": "rte", "model": "models/tiny",
    "adapter": "LoRA", "method": "ours", "seed": 42, "rounds_planned": 2, "ending": "complete",
    "error": null, "rounds": 2, "rounds_refused": 0, "train_loss": 0.5,
    "eval": {"accuracy": 0.5, "loss": null}, "best": {"accuracy": {"value": 0.5, "round": 1}},
    "exactness_error": 1e-9, "worst_exactness_error": 1e-8, "state_digest": "ab", "bytes_up": 1,
    "bytes_down": 2, "outcomes": {"folded": 3}, "virtual_seconds": 1.5, "seconds": 2.5
}"#;
