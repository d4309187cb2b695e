//! What only a GPU can show. `benches/gpu.sh` runs these there; without one they run on the processor,
//! where they show that they themselves are sound.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use regatta::adapter::settings::AdapterKind;
use regatta::base::machine::Host;
use regatta::base::torch;
use regatta::base::torch::adamw::{AdamWConstants, AdamWParameter};
use regatta::base::torch::error::Meaning;
use regatta::config::load;
use regatta::config::settings::Settings;
use regatta::experiment::base_weights::BaseWeightCache;
use regatta::experiment::client::LaneTrainer;
use regatta::experiment::inputs::RunInputs;
use regatta::experiment::payload::{ClientUpdate, Snapshot};
use regatta::experiment::prepared::Experiment;
use regatta::experiment::server::state::Server;
use regatta::runs::folder::RunFolder;
use regatta::train::settings::Precision;
use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::workload::job::{JobContext, Progress, TrainTask, Trained};
use regatta_actors::workload::update::{Contribution, Payload, Scores};
use regatta_actors::workload::{ClientTrainer, ServerAggregator};
use tch::{Device, Kind, Tensor};

struct Patient;

impl JobContext for Patient {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

const CONFIG: &str = r#"{
    "model_type": "roberta", "vocab_size": 12, "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 128, "hidden_act": "gelu",
    "max_position_embeddings": 40, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 1
}"#;

const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
    "decoder": null,
    "model": {
        "type": "WordLevel", "unk_token": "<unk>",
        "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "boat": 5, "sails": 6}
    }
}"#;

fn write_inputs(folder: &Path) {
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(folder.join("tokenizer.json"), TOKENIZER).unwrap();
    let task = folder.join("RTE");
    fs::create_dir(&task).unwrap();
    for split in ["train", "dev"] {
        let mut text = "index\tsentence1\tsentence2\tlabel\n".to_owned();
        for index in 0..24 {
            let label = ["entailment", "not_entailment"][index % 2];
            let words = "a boat sails ".repeat(1 + index % 5);
            text += &format!("{index}\t{words}\ta boat\t{label}\n");
        }
        fs::write(task.join(split).with_extension("tsv"), text).unwrap();
    }
}

/// Two clients on the GPU, if there is one and `cpu` is not wanted.
fn experiment(precision: Precision, cpu: bool, dropout: f64) -> Arc<Experiment> {
    let precision = Some(precision);
    experiment_with(Settings {
        precision,
        cpu: Some(cpu),
        model_dropout: Some(dropout),
        lora_dropout: Some(dropout),
        ..Settings::default()
    })
}

/// The same with other settings.
fn experiment_with(other: Settings) -> Arc<Experiment> {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path());
    let path = |name: &str| folder.path().join(name);
    let settings = Settings {
        task: Some("rte".into()),
        data: Some(folder.path().display().to_string()),
        model: Some(format!("random:{}", path("config.json").display())),
        tokenizer: Some(path("tokenizer.json")),
        max_seq_length: Some(32),
        num_clients: Some(2),
        batch_size: Some(4),
        local_epochs: Some(2),
        lr: Some(0.01),
        threads_per_lane: Some(1),
        ..other
    };
    let plan = load(None, &settings, &Host::detect()).unwrap();
    let inputs = RunInputs::load(&plan).unwrap();
    Arc::new(Experiment::prepare(plan, inputs).unwrap())
}

/// A client's first round, by its own lane.
fn round(
    experiment: &Arc<Experiment>,
    bases: &Arc<BaseWeightCache>,
    client: u32,
) -> Trained<ClientUpdate> {
    let lane = experiment.plan.devices.lanes[0];
    let (shared, bases) = (Arc::clone(experiment), Arc::clone(bases));
    let mut trainer = LaneTrainer::new(shared, bases, lane).unwrap();
    let task = TrainTask {
        client: ClientId(client),
        client_name: experiment.client_names[client as usize].as_str().into(),
        round: 1,
        attempt: 0,
        state: Arc::new(Snapshot::of(&experiment.initial, 0)),
    };
    trainer.train(&task, &mut Patient).unwrap()
}

fn bases(experiment: &Arc<Experiment>) -> Arc<BaseWeightCache> {
    Arc::new(BaseWeightCache::new(Arc::clone(experiment)))
}

#[test]
fn a_round_gives_the_same_bits_again_and_beside_another_lane_on_the_same_device() {
    for precision in [Precision::Float32, Precision::Auto] {
        let experiment = experiment(precision, false, 0.1);
        let alone: Vec<Digest> = (0..2)
            .map(|client| {
                round(&experiment, &bases(&experiment), client)
                    .update
                    .digest()
            })
            .collect();
        assert_ne!(alone[0], alone[1]);
        for _ in 0..5 {
            let shared = bases(&experiment);
            let together: Vec<Digest> = thread::scope(|scope| {
                let lane = |client| {
                    let (experiment, shared) = (&experiment, &shared);
                    scope.spawn(move || round(experiment, shared, client).update.digest())
                };
                let lanes: Vec<_> = (0..2).map(lane).collect();
                lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
            });
            assert_eq!(together, alone, "{precision:?}");
        }
    }
}

/// ‖a − b‖ / ‖b‖ over all tensors of two updates.
fn distance(a: &ClientUpdate, b: &ClientUpdate) -> f64 {
    let norm = |pairs: &mut dyn Iterator<Item = f64>| pairs.map(|x| x * x).sum::<f64>().sqrt();
    let (mut gap, mut size) = (Vec::new(), Vec::new());
    for (name, tensor) in a.0.iter() {
        for (x, y) in tensor.values().iter().zip(b.0.get(name).unwrap().values()) {
            gap.push(f64::from(x - y));
            size.push(f64::from(*y));
        }
    }
    norm(&mut gap.into_iter()) / norm(&mut size.into_iter())
}

#[test]
fn a_round_on_the_device_comes_to_what_the_processor_comes_to() {
    let on_cpu = experiment(Precision::Float32, true, 0.0);
    let expected = round(&on_cpu, &bases(&on_cpu), 0);
    for (precision, tolerance) in [
        (Precision::Float32, 1e-3),
        (Precision::Bfloat16, 0.1),
        (Precision::Float16, 0.1),
    ] {
        if precision == Precision::Float16 && !tch::Cuda::is_available() {
            continue;
        }
        let on_device = experiment(precision, false, 0.0);
        let got = round(&on_device, &bases(&on_device), 0);
        assert_eq!(got.steps, expected.steps);
        let loss = (got.loss - expected.loss).abs();
        assert!(loss < tolerance, "{precision:?}: losses differ by {loss}");
        let distance = distance(&got.update, &expected.update);
        assert!(distance < tolerance, "{precision:?}: {distance}");
    }
}

#[test]
fn every_adapter_trains_on_the_device_as_on_the_processor_with_texts_of_many_lengths() {
    for adapter in [AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera] {
        let on = |cpu| {
            experiment_with(Settings {
                adapter: Some(adapter),
                agg_type: Some("fedit".parse().unwrap()),
                precision: Some(Precision::Float32),
                cpu: Some(cpu),
                ..Settings::default()
            })
        };
        let (on_cpu, on_device) = (on(true), on(false));
        // Masks are the same on both, so dropout is on.
        let expected = round(&on_cpu, &bases(&on_cpu), 1);
        let got = round(&on_device, &bases(&on_device), 1);
        let distance = distance(&got.update, &expected.update);
        assert!(distance < 1e-3, "{adapter:?}: {distance}");
        let again = round(&on_device, &bases(&on_device), 1);
        assert_eq!(again.update.digest(), got.update.digest(), "{adapter:?}");
    }
}

/// The scores and the state after the server aggregated two updates.
fn served(experiment: &Arc<Experiment>, updates: &[ClientUpdate]) -> (Scores, Arc<Snapshot>) {
    let folder = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(folder.path());
    let mut server = Server::new(Arc::clone(experiment), bases(experiment), folder).unwrap();
    let contribution = |(client, update): (u32, &ClientUpdate)| Contribution {
        client: ClientId(client),
        base_round: 1,
        weight: 1.0,
        examples: 10,
        update: update.clone(),
    };
    let updates = (0..).zip(updates).map(contribution).collect();
    server.aggregate(1, updates).unwrap();
    (server.evaluate(1).unwrap(), server.state())
}

#[test]
fn the_server_comes_to_the_same_state_and_scores_on_the_device() {
    for (adapter, method) in [
        (AdapterKind::Lora, "fedex"),
        (AdapterKind::Vera, "fedit"),
        (AdapterKind::SorfVera, "sorf_vera"),
    ] {
        let on = |cpu| {
            experiment_with(Settings {
                adapter: Some(adapter),
                agg_type: Some(method.parse().unwrap()),
                precision: Some(Precision::Float32),
                cpu: Some(cpu),
                ..Settings::default()
            })
        };
        let (on_cpu, on_device) = (on(true), on(false));
        let shared = bases(&on_cpu);
        let updates = [0, 1].map(|client| round(&on_cpu, &shared, client).update);
        let (expected, got) = (served(&on_cpu, &updates), served(&on_device, &updates));
        let loss = (got.0["loss"] - expected.0["loss"]).abs();
        assert!(loss < 1e-4, "{method}: losses differ by {loss}");
        // Vectors of a decomposition may have the other sign, which angles are fitted to.
        if adapter != AdapterKind::SorfVera {
            let update = |snapshot: &Snapshot| ClientUpdate((*snapshot.trained).clone());
            let distance = distance(&update(&got.1), &update(&expected.1));
            assert!(distance < 1e-4, "{method}: {distance}");
        }
    }
}

#[test]
fn a_tensor_without_room_is_a_lack_of_memory_after_which_the_device_works() {
    let device = Device::cuda_if_available();
    let error = Tensor::f_empty([1 << 46], (Kind::Float, device)).unwrap_err();
    assert_eq!(
        Meaning::of(&error.to_string()),
        Meaning::OutOfMemory,
        "{error}"
    );
    let sum = Tensor::ones([10], (Kind::Float, device)).sum(Kind::Float);
    assert_eq!(sum.double_value(&[]), 10.0);
}

#[test]
fn dropout_is_a_function_of_its_key_with_the_bits_of_the_processor_forward_and_backward() {
    let device = Device::cuda_if_available();
    // More values than any GPU has threads, and no multiple of four.
    let values = Tensor::arange(5_000_001, (Kind::Float, Device::Cpu)).sin();
    let threshold = (0.1 * 65536.0) as u16;
    let dropped = |x: &Tensor, seed| torch::kernels::dropout(x, seed, threshold).unwrap();
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Half] {
        let host = values.to_kind(kind);
        let there = host.to_device(device);
        let found = dropped(&there, 7).to_device(Device::Cpu);
        assert!(found.equal(&dropped(&host, 7)), "{kind:?}");
        assert!(!found.equal(&dropped(&host, 8)), "{kind:?}");
    }
    let x = Tensor::ones([64, 1000], (Kind::Float, device)).set_requires_grad(true);
    let y = dropped(&x, 1);
    y.sum(Kind::Float).backward();
    assert!(
        x.grad().equal(&y),
        "the mask is another one on the way back"
    );
}

#[test]
fn attention_with_dropout_comes_to_what_the_processor_comes_to() {
    let (rows, tokens, heads, hidden) = (3, 37, 4, 64);
    let values = |step: f64| {
        let count = Tensor::arange(rows * tokens * hidden, (Kind::Float, Device::Cpu));
        (count * step).sin().reshape([rows, tokens, hidden])
    };
    let bias = Tensor::zeros([rows, 1, 1, tokens], (Kind::Float, Device::Cpu));
    let _ = bias.get(2).narrow(2, 20, 17).fill_(f64::from(f32::MIN));
    for (bias, causal) in [(None, false), (Some(&bias), false), (None, true)] {
        let on = |device: Device| {
            let leaf = |step| values(step).to_device(device).set_requires_grad(true);
            let (query, key, value) = (leaf(0.7), leaf(1.1), leaf(1.9));
            let bias = bias.map(|bias| bias.to_device(device));
            let attended = torch::kernels::AttentionInputs {
                query: &query,
                key: &key,
                value: &value,
                bias: bias.as_ref(),
                heads,
                causal,
            };
            let found = torch::kernels::attention(attended, 5, 6554).unwrap()?;
            (&found * values(0.3).to_device(device))
                .sum(Kind::Float)
                .backward();
            let all = [found.detach(), query.grad(), key.grad(), value.grad()];
            Some(all.map(|x| x.to_device(Device::Cpu)))
        };
        // A processor without wide vectors has no kernel.
        let (Some(found), Some(expected)) = (on(Device::cuda_if_available()), on(Device::Cpu))
        else {
            continue;
        };
        for (found, expected) in found.iter().zip(&expected) {
            let miss = (found - expected).abs().max().double_value(&[]);
            assert!(miss < 1e-5, "causal {causal}: {miss:e}");
        }
    }
}

#[test]
fn the_fused_optimiser_does_on_the_device_what_it_does_on_the_processor() {
    let trained = |device| {
        let tensor = |value: f64| Tensor::full([1000], value, (Kind::Float, device));
        let (value, gradient) = (tensor(1.0), tensor(0.5));
        let (mean, square) = (tensor(0.0), tensor(0.0));
        let steps = Tensor::zeros([], (Kind::Float, device));
        let parameter = AdamWParameter {
            value: &value,
            gradient: &gradient,
            mean: &mean,
            square: &square,
            steps: &steps,
        };
        let constants = AdamWConstants {
            rate: 0.1,
            betas: (0.9, 0.999),
            weight_decay: 0.01,
            epsilon: 1e-8,
        };
        torch::adamw::fused_adamw(&[parameter], constants).unwrap();
        value.to_device(Device::Cpu)
    };
    let (got, expected) = (trained(Device::cuda_if_available()), trained(Device::Cpu));
    assert!((got - expected).abs().max().double_value(&[]) < 1e-6);
}
