//! Decoders against transformers and PEFT.

use std::path::{Path, PathBuf};

use regatta::model::decoder::Decoder;
use regatta::model::decoder::cache::KvCache;
use regatta::model::decoder::gpt2::Gpt2Config;
use regatta::model::decoder::llama::LlamaConfig;
use regatta::model::inputs::Inputs;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use tch::{Device, IndexOp, Kind, Tensor, no_grad};

use crate::support::{Expected, assert_close, golden};

/// The families that there are; the folder has more.
const FAMILIES: [&str; 2] = ["gpt2-", "llama-"];

fn folders() -> Vec<PathBuf> {
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

fn weights(folder: &Path) -> (Checkpoint, Weights) {
    let checkpoint = Checkpoint::read(folder, &Objective::NextToken, 0).unwrap();
    assert_eq!(
        checkpoint.fresh,
        Vec::<String>::new(),
        "{}",
        folder.display()
    );
    let weights = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    (checkpoint, weights)
}

fn inputs(expected: &Expected) -> Inputs {
    let ids = expected.integers("input_ids");
    let mask = expected.integers("attention_mask");
    let rows = expected.get("input_ids").size()[0];
    Inputs::new(rows, &ids, &mask, &vec![0; ids.len()], Device::Cpu).unwrap()
}

/// The hidden states of a model, by its family's own type.
fn hidden_states(folder: &Path, weights: &Weights, ids: &Tensor) -> Vec<Tensor> {
    let view = View::new(weights);
    let decoder: Decoder = match folder.file_name().unwrap().to_str().unwrap() {
        name if name.starts_with("gpt2") => Gpt2Config::read(&folder.join("config.json"))
            .unwrap()
            .decoder(&view)
            .unwrap(),
        _ => LlamaConfig::read(&folder.join("config.json"))
            .unwrap()
            .decoder(&view)
            .unwrap(),
    };
    decoder.hidden_states(ids).unwrap()
}

#[test]
fn golden_decoders_give_the_hidden_states_logits_and_losses_of_transformers() {
    for folder in folders() {
        let name = folder.display().to_string();
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let (checkpoint, weights) = weights(&folder);
        let model = checkpoint
            .architecture
            .build(&View::new(&weights), &Objective::NextToken)
            .unwrap();
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
                assert_close(&format!("{name} hidden {i}"), &(hidden * &real), want, 1e-5);
            }
            let logits = model.outputs(&inputs, None).unwrap();
            let want = expected.get("logits");
            assert_close(&format!("{name} logits"), &(&logits * &real), want, 1e-5);
            let labels = expected.get("labels");
            let loss = model.loss(&logits, labels).unwrap().view([1]);
            assert_close(&format!("{name} loss"), &loss, expected.get("loss"), 1e-5);
        });
    }
}

#[test]
fn golden_decoders_read_with_a_cache_as_they_read_at_once() {
    for folder in folders() {
        let name = folder.display().to_string();
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let (checkpoint, weights) = weights(&folder);
        let model = checkpoint
            .architecture
            .build(&View::new(&weights), &Objective::NextToken)
            .unwrap();
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
            let mut cache = KvCache::new(length);
            let want = expected.get("logits").i(0);
            let first = length / 2;
            let mut start = 0;
            for tokens in [first].into_iter().chain((first..length).map(|_| 1)) {
                let part = ids.narrow(1, start, tokens);
                let next = causal.next_logits(&part, &mut cache).unwrap();
                start += tokens;
                let want = want.i(start - 1).unsqueeze(0);
                assert_close(&format!("{name} after {start}"), &next, &want, 1e-5);
            }
            assert!(
                causal.next_logits(&ids, &mut cache).is_err(),
                "{name}: it is full"
            );
        });
    }
}
