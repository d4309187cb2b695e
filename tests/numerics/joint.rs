//! Several clients' batches in one pass, against each batch alone.

use std::ops::ControlFlow;
use std::rc::Rc;

use rand::SeedableRng;
use regatta::adapter::initial_state;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::data::encoded::EncodedSplit;
use regatta::model::documents::Documents;
use regatta::model::dropout::{Masks, PassMember};
use regatta::model::inputs::Inputs;
use regatta::model::joint::BatchShape;
use regatta::model::linear_layer::LinearLayer;
use regatta::model::loss::{Labels, Loss};
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::client_round::{ClientRound, LocalTraining};
use regatta::train::joint::JointRound;
use regatta::train::precision::Compute;
use regatta::train::replica::{Replica, RoundModel};
use regatta_actors::random::{Stream, StreamKey};
use regatta_actors::workload::job::{JobContext, Progress};
use tch::{Device, Kind, Tensor};

use crate::parts::texts;
use crate::recompute::{MODELS, checkpoint};
use crate::support::assert_close;

/// The batches of three clients: rows, tokens, and tokens of the last row.
const BATCHES: [(i64, i64, i64); 3] = [(2, 5, 5), (1, 3, 3), (2, 7, 4)];

/// Clients of one base, each with an adapter of its own that changes something.
struct Clients {
    shared: RoundModel,
    checkpoint: Checkpoint,
    objective: Objective,
    layers: Vec<LinearLayer>,
    replicas: Vec<Replica>,
}

impl Clients {
    fn new(json: &str, kind: AdapterKind, count: u64) -> Self {
        let (checkpoint, objective) = checkpoint(json);
        let architecture = &*checkpoint.architecture;
        let ends = architecture.default_targets();
        let mut layers = architecture.linear_layers();
        layers.retain(|layer| ends.iter().any(|end| layer.module.ends_with(end)));
        let plan = AdapterPlan {
            dropout: 0.1,
            init_weights: false,
            ..AdapterPlan::plain(kind, 4)
        };
        let adapter = plan.build(&layers).unwrap();
        let state = |seed| {
            let mut own = initial_state(&*adapter, &layers, seed, 0);
            own.0.extend(checkpoint.head.0.clone());
            own
        };
        let base = Weights::frozen(&checkpoint.base, &checkpoint.quantised, Device::Cpu).unwrap();
        let shared = RoundModel::new(base, &state(5), &*adapter, &layers, Device::Cpu).unwrap();
        let replica = |client| {
            let own = Weights::from_map(&state(5 + client), Device::Cpu).unwrap();
            Replica::new(&shared, architecture, &objective, &layers, own, |_| true).unwrap()
        };
        let replicas = (0..count).map(replica).collect();
        Self {
            shared,
            checkpoint,
            objective,
            layers,
            replicas,
        }
    }

    fn joint(&self) -> Replica {
        let architecture = &*self.checkpoint.architecture;
        let (objective, layers) = (&self.objective, &self.layers);
        Replica::joint(
            &self.shared,
            architecture,
            objective,
            layers,
            &self.replicas,
        )
        .unwrap()
    }
}

/// A client's batch. With `packed`, the rows of the last client have two texts each.
fn batch(client: usize, objective: &Objective, packed: bool) -> (Inputs, Labels) {
    let (rows, tokens, last) = BATCHES[client];
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let real = if row + 1 == rows { last } else { tokens };
        for at in 0..tokens {
            ids.push(2 + (client as i64 * 13 + row * 5 + at * 7) % 38);
            mask.push(i64::from(at < real));
        }
    }
    let types = vec![0; ids.len()];
    let mut inputs = Inputs::new(rows, &ids, &mask, &types, Device::Cpu).unwrap();
    let labels = match objective {
        Objective::NextToken => {
            let places: Vec<i64> = (0..rows).map(|row| row * tokens + 1).collect();
            let next: Vec<i64> = places
                .iter()
                .map(|place| ids[*place as usize + 1])
                .collect();
            if packed && client + 1 == BATCHES.len() {
                inputs.documents = Some(Documents::new(vec![vec![3, 4], vec![3, 1]]));
            }
            Labels::tokens(&places, &next, Device::Cpu)
        }
        _ => {
            let classes: Vec<f32> = (0..rows).map(|row| (row % 2) as f32).collect();
            Labels::rows(&classes, Device::Cpu)
        }
    };
    (inputs, labels.unwrap())
}

fn masks(client: usize) -> Masks {
    Masks::of_client(client, Stream::seed_from_u64(9 + client as u64))
}

/// A client's loss and gradients, by name.
type Found = Vec<(String, Tensor)>;

fn found(replica: &Replica, loss: &Loss) -> Found {
    let mut found = vec![("loss".to_owned(), loss.mean.shallow_clone())];
    let gradients = replica.gradients().unwrap().into_iter();
    found.extend(gradients.map(|(name, gradient)| (name.to_owned(), gradient)));
    found
}

fn alone(clients: &Clients, packed: bool) -> Vec<Found> {
    let of = |(client, replica): (usize, &Replica)| {
        let (inputs, labels) = batch(client, &clients.objective, packed);
        let outputs = replica
            .model
            .outputs(&inputs, Some(&masks(client)))
            .unwrap();
        let loss = replica.model.loss(&outputs, &labels, 0.1).unwrap();
        replica.backward(&loss.graph).unwrap();
        found(replica, &loss)
    };
    clients.replicas.iter().enumerate().map(of).collect()
}

fn together(clients: &Clients, packed: bool, checkpoint_blocks: bool) -> Vec<Found> {
    let mut model = clients.joint();
    if checkpoint_blocks {
        model.model.checkpoint_blocks();
    }
    let (mut inputs, mut labels, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for (client, (rows, tokens, _)) in BATCHES.into_iter().enumerate() {
        let own = batch(client, &clients.objective, packed);
        inputs.push(own.0);
        labels.push(own.1);
        members.push(PassMember {
            shape: BatchShape { rows, tokens },
            masks: Rc::new(masks(client)),
        });
    }
    let own: Vec<Rc<Masks>> = members.iter().map(|member| member.masks.clone()).collect();
    let all = Masks::joint(members);
    let hidden = model.model.joint_hidden(&inputs, &all).unwrap();
    let outputs = clients
        .replicas
        .iter()
        .enumerate()
        .map(|(client, replica)| {
            let (hidden, inputs) = (&hidden[client], &inputs[client]);
            let outputs = replica.model.outputs_of(hidden, inputs, Some(&own[client]));
            outputs.unwrap()
        });
    let outputs: Vec<Tensor> = outputs.collect();
    let losses = model.model.losses(&outputs, &labels, 0.1).unwrap();
    let sum = losses.iter().map(|loss| loss.graph.shallow_clone());
    model.backward(&sum.sum()).unwrap();
    let found = clients.replicas.iter().zip(&losses);
    found
        .map(|(replica, loss)| self::found(replica, loss))
        .collect()
}

/// That clients have the same losses and, as one vector each, the same gradients.
fn assert_within(
    name: &str,
    found: &[Found],
    expected: &[Found],
    [of_loss, of_gradient]: [f64; 2],
) {
    for (client, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(expected.len() > 3, "{name}: {expected:?}");
        for (tensor, want) in expected {
            let any = want.norm().double_value(&[]) > 0.0;
            assert!(any, "{name}: {tensor} is zero");
        }
        let name = format!("{name}: client {client}");
        let gradient = |of: &Found| {
            let flat: Vec<Tensor> = of[1..].iter().map(|(_, it)| it.flatten(0, -1)).collect();
            Tensor::cat(&flat, 0)
        };
        assert_close(
            &format!("{name}, loss"),
            &found[0].1,
            &expected[0].1,
            of_loss,
        );
        let (found, expected) = (gradient(found), gradient(expected));
        assert_close(&format!("{name}, gradient"), &found, &expected, of_gradient);
    }
}

#[test]
fn each_client_of_a_joint_pass_has_the_loss_and_the_gradients_that_it_has_alone() {
    // As wide as these are drawn for other tests, weights would carry rounding on.
    for json in MODELS.map(|json| json.replace("0.3", "0.06")) {
        for kind in [AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera] {
            let fresh = || Clients::new(&json, kind, 3);
            for packed in [false, true] {
                let expected = alone(&fresh(), packed);
                let found = together(&fresh(), packed, false);
                let name = format!("{kind:?}, packed {packed}, on {json}");
                assert_within(&name, &found, &expected, [1e-6; 2]);
                let recomputed = together(&fresh(), packed, true);
                assert_within(
                    &format!("recomputed: {name}"),
                    &recomputed,
                    &found,
                    [0.0; 2],
                );
            }
        }
    }
}

#[test]
fn losses_of_several_batches_are_those_of_each() {
    let (json, kind) = (MODELS[0], AdapterKind::Lora);
    let clients = Clients::new(json, kind, 3);
    let model = &clients.replicas[0].model;
    for smoothing in [0.0, 0.1] {
        let batches = || {
            (0..3).map(|client| {
                let (inputs, labels) = batch(client, &clients.objective, false);
                let outputs = model.outputs(&inputs, None).unwrap().detach();
                (outputs.set_requires_grad(true), labels)
            })
        };
        let (outputs, labels): (Vec<Tensor>, Vec<Labels>) = batches().unzip();
        let together = model.losses(&outputs, &labels, smoothing).unwrap();
        for ((outputs, labels), (found, joint)) in batches().zip(together.iter().zip(&outputs)) {
            let own = model.loss(&outputs, &labels, smoothing).unwrap();
            own.graph.backward();
            found.graph.backward();
            assert_close("loss", &found.mean, &own.mean, 1e-6);
            assert_close("gradient", &joint.grad(), &outputs.grad(), 1e-6);
        }
    }
}

struct Patient;

impl JobContext for Patient {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Stops after its first step.
struct Impatient;

impl JobContext for Impatient {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

const TRAINING: LocalTraining = LocalTraining {
    epochs: 2,
    batch_size: 3,
    lr: 1e-3,
    warmup_ratio: 0.1,
    weight_decay: 0.01,
    shuffle: true,
    label_smoothing: 0.0,
    max_grad_norm: Some(0.5),
};

/// The shards of three clients: two batches, one, and two of which one is short.
const SHARDS: [&[u32]; 3] = [&[0, 1, 2, 3, 4, 5], &[6, 7], &[8, 9, 10, 11]];

fn rounds<'a>(
    replicas: &'a [Replica],
    split: &'a EncodedSplit,
    part_tokens: Option<usize>,
) -> Vec<ClientRound<'a>> {
    let of = |(replica, (shard, name)): (&'a Replica, (&'a [u32], &'static str))| ClientRound {
        row_tokens: None,
        replica,
        split,
        shard,
        key: StreamKey {
            seed: 1,
            purpose: "training",
            name,
            round: 1,
            attempt: 0,
        },
        pad: 1,
        compute: COMPUTE,
        micro_batches: 1,
        part_tokens,
    };
    let shards = SHARDS.into_iter().zip(["a", "b", "c"]);
    replicas.iter().zip(shards).map(of).collect()
}

const COMPUTE: Compute = Compute {
    device: Device::Cpu,
    kind: Kind::Float,
};

#[test]
fn clients_that_are_trained_together_take_the_steps_that_they_take_alone() {
    let split = texts();
    let json = MODELS[4].replace(
        "\"vocab_size\"",
        "\"hidden_dropout_prob\": 0.1, \"vocab_size\"",
    );
    for part_tokens in [None, Some(40), Some(16)] {
        let fresh = || Clients::new(&json, AdapterKind::Lora, 3);
        let (lone, group) = (fresh(), fresh());
        let expected: Vec<_> = rounds(&lone.replicas, &split, part_tokens)
            .iter()
            .map(|round| TRAINING.run(round, &mut Patient).unwrap().unwrap())
            .collect();
        let joint = group.joint();
        let clients = rounds(&group.replicas, &split, part_tokens);
        let round = JointRound {
            model: &joint,
            clients: &clients,
            compute: COMPUTE,
            part_tokens,
        };
        let (mut a, mut b, mut c) = (Patient, Patient, Patient);
        let contexts: &mut [&mut dyn JobContext] = &mut [&mut a, &mut b, &mut c];
        let found = TRAINING.run_joint(&round, contexts).unwrap();
        for (client, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let found = found.unwrap();
            let name = format!("client {client}, parts of {part_tokens:?}");
            assert_eq!(
                (found.steps, found.examples),
                (expected.steps, expected.examples),
                "{name}"
            );
            assert!((found.loss - expected.loss).abs() < 1e-6, "{name}");
            let (got, want) = (&group.replicas[client], &lone.replicas[client]);
            let (got, want) = (got.update().unwrap(), want.update().unwrap());
            for (tensor, want) in &want.0 {
                let got = got.get(tensor).unwrap().to_tensor(Device::Cpu).unwrap();
                let want = want.to_tensor(Device::Cpu).unwrap();
                assert_close(&format!("{name}, {tensor}"), &got, &want, 1e-5);
            }
        }
    }
}

#[test]
fn a_client_that_is_stopped_changes_no_bit_of_the_others() {
    let split = texts();
    let train = |contexts: &mut [&mut dyn JobContext]| {
        let clients = Clients::new(MODELS[4], AdapterKind::Lora, 3);
        let joint = clients.joint();
        let rounds = rounds(&clients.replicas, &split, None);
        let round = JointRound {
            model: &joint,
            clients: &rounds,
            compute: COMPUTE,
            part_tokens: None,
        };
        let results = TRAINING.run_joint(&round, contexts).unwrap();
        let digests = clients.replicas.iter().map(|it| it.update().unwrap().0);
        (results, digests.collect::<Vec<_>>())
    };
    let (all, expected) = train(&mut [&mut Patient, &mut Patient, &mut Patient]);
    let (some, found) = train(&mut [&mut Impatient, &mut Patient, &mut Patient]);
    assert!(all.iter().all(Option::is_some));
    assert!(some[0].is_none());
    assert_eq!(some[1..], all[1..]);
    assert_eq!(found[1..], expected[1..]);
}
