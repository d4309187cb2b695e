//! Small sound files of each kind.

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
