//! A small random encoder without a head, in Hugging Face form, and a small task.

use std::fs;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use regatta::base::tensors::{HostTensor, TensorMap};
use serde_json::json;

const HIDDEN: i64 = 32;
const WIDE: i64 = 48;
const LAYERS: i64 = 2;
const VOCABULARY: i64 = 12;
const POSITIONS: i64 = 40;

/// Writes an encoder whose linear layers are of several shapes, as `family` has them; BERT's
/// without the pooler, as many encoders are published.
pub fn write_model(folder: &Path, family: &str) {
    fs::create_dir_all(folder).unwrap();
    let config = json!({
        "model_type": family, "architectures": ["SomethingElse"], "_name_or_path": "elsewhere",
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "intermediate_size": WIDE, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 1,
        "torch_dtype": "float16",
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    weights().write(&folder.join("model.safetensors")).unwrap();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "post_processor": {
            "type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
        },
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {
            "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "boat": 5, "rows": 6,
            "sails": 7, "sinks": 8, "fast": 9, "slow": 10, "wins": 11,
        }},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

fn weights() -> TensorMap {
    let mut stream = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut tensors = TensorMap::default();
    let mut add = |name: String, shape: &[i64], centre: f32| {
        let mut tensor = HostTensor::full(shape, 0.0);
        let values = tensor.values_mut();
        values.fill_with(|| centre + stream.random_range(-0.3..0.3));
        tensors.insert(name, tensor);
    };
    for (table, rows) in [
        ("word", VOCABULARY),
        ("position", POSITIONS),
        ("token_type", 2),
    ] {
        let name = format!("embeddings.{table}_embeddings.weight");
        add(name, &[rows, HIDDEN], 0.0);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..LAYERS {
        let layer = format!("encoder.layer.{layer}");
        for (module, d_out, d_in) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
        ] {
            add(format!("{layer}.{module}.weight"), &[d_out, d_in], 0.0);
            add(format!("{layer}.{module}.bias"), &[d_out], 0.0);
        }
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[HIDDEN], 1.0);
        add(format!("{norm}.bias"), &[HIDDEN], 0.0);
    }
    tensors
}

/// Writes RTE with a dozen examples of different lengths in each split.
pub fn write_rte(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let words = ["rows", "sails", "sinks", "fast", "slow", "wins"];
    for split in ["train", "dev"] {
        let mut text = "index\tsentence1\tsentence2\tlabel\n".to_owned();
        for index in 0..12 {
            let first = words[..=index % words.len()].join(" ");
            let second = words[(index * 5 + split.len()) % words.len()];
            let label = ["entailment", "not_entailment"][index % 2];
            text += &format!("{index}\ta boat {first}\ta boat {second}\t{label}\n");
        }
        fs::write(folder.join(split).with_extension("tsv"), text).unwrap();
    }
}
