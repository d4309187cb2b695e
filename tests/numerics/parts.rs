use std::ops::ControlFlow;

use regatta::data::encoded::EncodedSplit;
use regatta::data::limits::TokenizerLimits;
use regatta::data::schema::SplitName;
use regatta::data::split::{Example, Split};
use regatta::data::tokenize::TextEncoder;
use regatta::train::client_round::{ClientRound, LocalTraining};
use regatta::train::precision::Compute;
use regatta_actors::random::StreamKey;
use regatta_actors::workload::job::{JobContext, Progress};
use tch::{Device, Kind};

use crate::adapters::golden_replica;
use crate::support::{assert_close, cases};

struct Patient;

impl JobContext for Patient {
    fn step(&mut self, _progress: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Words of one token each, and texts of 1 to 13 of them.
pub fn texts() -> EncodedSplit {
    let vocabulary: Vec<String> = (0..40).map(|i| format!("\"w{i}\": {i}")).collect();
    let tokenizer = format!(
        r#"{{"version": "1.0", "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "unk_token": "w0", "vocab": {{{}}}}}}}"#,
        vocabulary.join(", ")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, tokenizer).unwrap();
    let limits = TokenizerLimits {
        model: "tiny".to_owned(),
        vocabulary: 40,
        token_types: None,
        positions: 16,
        pad_id: 1,
        end_tokens: Vec::new(),
        is_decoder: false,
        tokenizer_class: None,
    };
    let mut split = Split::new(false, SplitName::Train);
    for id in 0..12 {
        let words = 1 + id * 5 % 13;
        let text: Vec<String> = (0..words)
            .map(|i| format!("w{}", 2 + (id * 7 + i) % 38))
            .collect();
        split.push(Example {
            id,
            text_a: &text.join(" "),
            text_b: None,
            label: Some((id % 2) as f32),
        });
    }
    TextEncoder::new(&file, &limits, 16)
        .unwrap()
        .encode(&split)
        .unwrap()
}

#[test]
fn a_batch_trained_in_parts_takes_the_steps_of_the_whole_batch() {
    let split = texts();
    let shard: Vec<u32> = (0..12).collect();
    let training = LocalTraining {
        epochs: 2,
        batch_size: 6,
        lr: 1e-3,
        warmup_ratio: 0.0,
        weight_decay: 0.01,
        shuffle: true,
        label_smoothing: 0.0,
        max_grad_norm: None,
    };
    for case in cases("adapter") {
        let trained = |micro_batches, part_tokens| {
            let (replica, _) = golden_replica(&case);
            let job = ClientRound {
                row_tokens: None,
                replica: &replica,
                split: &split,
                shard: &shard,
                key: StreamKey {
                    seed: 1,
                    purpose: "",
                    name: "c",
                    round: 1,
                    attempt: 0,
                },
                pad: 1,
                compute: Compute {
                    device: Device::Cpu,
                    kind: Kind::Float,
                },
                micro_batches,
                part_tokens,
            };
            let result = training.run(&job, &mut Patient).unwrap().unwrap();
            (result, replica.update().unwrap())
        };
        let (whole, want) = trained(1, None);
        // The longest text is a separate part, and others are cut to several.
        for (micro_batches, part_tokens) in [(1, Some(13)), (1, Some(26)), (4, None)] {
            let (parts, got) = trained(micro_batches, part_tokens);
            let name = format!(
                "{} in {micro_batches} parts of {part_tokens:?}",
                case.display()
            );
            assert_eq!(
                (parts.steps, parts.examples),
                (whole.steps, whole.examples),
                "{name}"
            );
            assert!(
                (parts.loss - whole.loss).abs() < 1e-6,
                "{name}: {} {}",
                parts.loss,
                whole.loss
            );
            for (tensor, want) in &want.0 {
                let got = got.get(tensor).unwrap().to_tensor(Device::Cpu).unwrap();
                let want = want.to_tensor(Device::Cpu).unwrap();
                assert_close(&format!("{name}, {tensor}"), &got, &want, 1e-5);
            }
        }
    }
}
