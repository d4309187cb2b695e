//! Decoders against transformers and PEFT.

use std::path::{Path, PathBuf};

use regatta::model::architecture::Model;
use regatta::model::config;
use regatta::model::decoder::Decoder;
use regatta::model::decoder::cache::KvCache;
use regatta::model::decoder::gpt2::Gpt2Config;
use regatta::model::decoder::rotary::config::RotaryConfig;
use regatta::model::inputs::Inputs;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use tch::{Device, IndexOp, Kind, Tensor, no_grad};

use crate::adapters::{check_training, golden_adapted};
use crate::support::{Expected, assert_close, golden};

/// The families that are known.
const FAMILIES: [&str; 6] = ["gpt2-", "llama-", "mistral-", "qwen2-", "qwen3-", "gemma2-"];

/// The folders of their reference values.
pub fn folders() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(golden().join("decoder")) else {
        eprintln!("skipped: no decoder/ among the reference values");
        return Vec::new();
    };
    let folders = entries.map(|entry| entry.unwrap().path());
    let known = |folder: &PathBuf| {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        FAMILIES.iter().any(|family| name.starts_with(family))
    };
    let mut folders: Vec<_> = folders.filter(known).collect();
    folders.sort();
    folders
}

/// The model in a folder, which lacks nothing, and its weights.
pub fn built(folder: &Path) -> (Box<dyn Model>, Weights) {
    let checkpoint = Checkpoint::read(folder, &Objective::NextToken, 0).unwrap();
    let fresh = Vec::<String>::new();
    assert_eq!(checkpoint.fresh, fresh, "{}", folder.display());
    of_checkpoint(&checkpoint)
}

fn of_checkpoint(checkpoint: &Checkpoint) -> (Box<dyn Model>, Weights) {
    let weights = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    let model = checkpoint
        .architecture
        .build(&View::new(&weights), &Objective::NextToken);
    (model.unwrap(), weights)
}

fn inputs(expected: &Expected) -> Inputs {
    let ids = expected.integers("input_ids");
    let mask = expected.integers("attention_mask");
    let rows = expected.get("input_ids").size()[0];
    Inputs::new(rows, &ids, &mask, &vec![0; ids.len()], Device::Cpu).unwrap()
}

/// Labels that are aligned with the tokens, −100 where there is none.
fn labels(expected: &Expected) -> Labels {
    let width = expected.get("labels").size()[1];
    let aligned = expected.integers("labels");
    let aligned = (0..).zip(&aligned);
    let labelled = aligned.filter(|(at, label)| at % width > 0 && **label != -100);
    let (places, tokens): (Vec<i64>, Vec<i64>) = labelled.map(|(at, id)| (at - 1, *id)).unzip();
    Labels::tokens(&places, &tokens, Device::Cpu).unwrap()
}

/// The hidden states of a model, by its family's own type.
fn hidden_states(folder: &Path, weights: &Weights, ids: &Tensor) -> Vec<Tensor> {
    let view = View::new(weights);
    let decoder: Decoder = match folder.file_name().unwrap().to_str().unwrap() {
        name if name.starts_with("gpt2") => Gpt2Config::read(&folder.join("config.json"))
            .unwrap()
            .decoder(&view)
            .unwrap(),
        _ => RotaryConfig::read(&folder.join("config.json"))
            .unwrap()
            .decoder(&view)
            .unwrap(),
    };
    decoder.hidden_states(ids).unwrap()
}

/// Fails unless each value is within 1e-5 of the right one.
fn assert_each_close(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.size(), want.size(), "{what}");
    let miss = (got - want).abs().max().double_value(&[]);
    assert!(miss <= 1e-5, "{what} misses by {miss:e}");
}

#[test]
fn golden_decoders_give_the_hidden_states_logits_and_losses_of_transformers() {
    for folder in folders() {
        let name = folder.display().to_string();
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let (model, weights) = built(&folder);
        let inputs = inputs(&expected);
        let real = expected
            .get("attention_mask")
            .unsqueeze(-1)
            .to_kind(Kind::Float);
        no_grad(|| {
            for (i, hidden) in hidden_states(&folder, &weights, &inputs.ids)
                .iter()
                .enumerate()
            {
                let want = expected.get(&format!("hidden.{i}"));
                assert_each_close(&format!("{name} hidden {i}"), &(hidden * &real), want);
            }
            let hidden = model.outputs(&inputs, None).unwrap();
            let logits = model.as_causal().unwrap().logits(&hidden).unwrap();
            let want = expected.get("logits");
            assert_each_close(&format!("{name} logits"), &(&logits * &real), want);
            for (key, smoothing) in [("loss", 0.0), ("loss_smoothed", 0.1)] {
                let loss = model.loss(&hidden, &labels(&expected), smoothing).unwrap();
                let want = expected.get(key);
                assert_close(&format!("{name} {key}"), &loss.mean.view([1]), want, 1e-5);
            }
        });
    }
}

#[test]
fn golden_decoders_read_with_a_cache_as_they_read_at_once() {
    for folder in folders() {
        let name = folder.display().to_string();
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let (model, _) = built(&folder);
        let length = expected
            .get("attention_mask")
            .i(0)
            .sum(Kind::Int64)
            .int64_value(&[]);
        let ids = expected
            .get("input_ids")
            .i(0)
            .narrow(0, 0, length)
            .unsqueeze(0);
        let causal = model.as_causal().unwrap();
        no_grad(|| {
            let mut cache = KvCache::default();
            let want = expected.get("logits").i(0);
            let first = length / 2;
            let mut hidden = causal
                .read_prompts(&ids.narrow(1, 0, first), &mut cache)
                .unwrap();
            for read in first..=length {
                let next = causal.logits(&hidden).unwrap();
                let want = want.i(read - 1).unsqueeze(0);
                assert_each_close(&format!("{name} after {read}"), &next, &want);
                if read < length {
                    let token = ids.select(1, read);
                    hidden = causal.read_next(&token, &mut cache).unwrap();
                }
            }
        });
    }
}

/// Adapters on decoders, after three steps of AdamW.
#[test]
fn golden_decoder_adapters_give_the_logits_gradients_and_steps_of_peft() {
    for (folder, kind) in folders()
        .into_iter()
        .flat_map(|f| [(f.clone(), "lora"), (f, "vera")])
    {
        let case = folder.join(kind);
        if !case.is_dir() {
            continue;
        }
        let expected = Expected::read(&case.join("expected.safetensors"));
        let replica = golden_adapted(&folder, &case, &Objective::NextToken);
        let inputs = inputs(&expected);
        let labels = labels(&expected);
        let name = case.display().to_string();
        check_training(&name, &replica, &expected, &inputs, &labels, 1e-2);
    }
}

/// Soft caps that its scores and logits reach, and windows on the first and the last layer.
const GEMMA_2: &str = r#"{"model_type": "gemma2", "vocab_size": 40, "hidden_size": 12,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 20, "initializer_range": 0.3, "query_pre_attn_scalar": 10,
    "attn_logit_softcapping": 1.5, "final_logit_softcapping": 4.0, "sliding_window": 3}"#;

/// Tiny models of all families whose weights are drawn, with biases and without, tied and not.
pub fn drawn() -> Vec<Box<dyn Model>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    [
        r#"{"model_type": "gpt2", "vocab_size": 40, "n_positions": 32, "n_embd": 12, "n_layer": 2,
            "n_head": 2, "initializer_range": 0.3, "embd_pdrop": 0, "attn_pdrop": 0,
            "resid_pdrop": 0}"#,
        r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
            "intermediate_size": 20, "initializer_range": 0.3, "attention_bias": true}"#,
        r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
            "tie_word_embeddings": true, "rope_parameters": {"rope_type": "yarn", "factor": 4.0,
            "rope_theta": 500.0, "original_max_position_embeddings": 8}}"#,
        r#"{"model_type": "mistral", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "intermediate_size": 20, "initializer_range": 0.3, "sliding_window": 3}"#,
        r#"{"model_type": "qwen2", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 3,
            "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 20,
            "initializer_range": 0.3, "use_sliding_window": true, "sliding_window": 2,
            "max_window_layers": 1}"#,
        r#"{"model_type": "qwen3", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32,
            "intermediate_size": 20, "initializer_range": 0.3, "tie_word_embeddings": true,
            "use_sliding_window": true, "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"]}"#,
        GEMMA_2,
        &GEMMA_2.replace("\"head_dim\": 16", "\"head_dim\": 6"),
    ]
    .map(|json| {
        std::fs::write(&file, json).unwrap();
        let architecture = config::read(&file).unwrap();
        let checkpoint = Checkpoint::random(architecture, &Objective::NextToken, 3).unwrap();
        of_checkpoint(&checkpoint).0
    })
    .into()
}

/// One text.
pub fn ids(tokens: &[i64]) -> Tensor {
    Tensor::from_slice(tokens).unsqueeze(0)
}

#[test]
fn what_is_read_with_a_cache_is_what_is_read_at_once_and_no_token_sees_later_ones() {
    let text = [7, 3, 19, 22, 5, 31, 8];
    for model in drawn() {
        no_grad(|| {
            let inputs = |tokens: &[i64]| {
                let n = tokens.len();
                Inputs::new(1, tokens, &vec![1; n], &vec![0; n], Device::Cpu).unwrap()
            };
            let causal = model.as_causal().unwrap();
            let logits = |tokens: &[i64]| {
                let hidden = model.outputs(&inputs(tokens), None).unwrap();
                causal.logits(&hidden).unwrap()
            };
            let whole = logits(&text);
            let cut = logits(&text[..4]);
            assert_close("a shorter text", &cut, &whole.narrow(1, 0, 4), 1e-5);
            let mut cache = KvCache::default();
            let mut hidden = causal.read_prompts(&ids(&text[..3]), &mut cache).unwrap();
            for (read, token) in text.iter().enumerate().skip(3) {
                let next = causal.logits(&hidden).unwrap();
                let want = whole.select(1, read as i64 - 1);
                assert_close(&format!("after {read}"), &next, &want, 1e-5);
                let token = Tensor::from_slice(&[*token]);
                hidden = causal.read_next(&token, &mut cache).unwrap();
            }
            let last = causal.logits(&hidden).unwrap();
            assert_close("the whole", &last, &whole.select(1, 6), 1e-5);
        });
    }
}
