use regatta::adapter::lora::Lora;
use regatta::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use regatta::adapter::projection::Projection;
use regatta::adapter::vera::{LAMBDA_B, LAMBDA_D, Vera};
use regatta::adapter::{Adapter, Role, initial_state, lora};
use regatta::aggregate::methods;
use regatta::aggregate::state::GlobalState;
use regatta::aggregate::{Report, Round};
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::linear_layer::{LinearLayer, WeightLayout};
use tch::{Device, Kind, Tensor};

use crate::support::{Expected, assert_close, golden};

/// Aggregates updates of one layer by a method.
pub fn aggregate(
    method: &str,
    adapter: &dyn Adapter,
    layers: &[LinearLayer],
    updates: &[TensorMap],
    weights: &[f64],
    state: &mut GlobalState,
) -> Report {
    let groups = LayerGroup::of(layers);
    let before = state.trained.clone();
    let borrowed: Vec<&TensorMap> = updates.iter().collect();
    let round = Round {
        round: 1,
        adapter,
        groups: &groups,
        updates: WeightedUpdates {
            state: &before,
            updates: &borrowed,
            weights,
            device: Device::Cpu,
        },
        residual_scale: 1.0,
        seed: 0,
    };
    methods::find(method)
        .unwrap()
        .method
        .aggregate(&round, state)
        .unwrap()
}

fn layer(d_out: i64, d_in: i64) -> LinearLayer {
    LinearLayer {
        module: "layer".into(),
        layer: 0,
        d_in,
        d_out,
        layout: WeightLayout::OutIn,
    }
}

/// LoRA of a rank, with the α that gives this scaling.
fn lora_of(r: i64, scaling: f64) -> Lora {
    Lora {
        r,
        alpha: scaling * r as f64,
        dropout: 0.0,
        rank_stabilized: false,
        own: std::collections::BTreeMap::new(),
        init_weights: true,
    }
}

fn weightings(expected: &Expected) -> [(&'static str, Vec<f64>); 2] {
    let examples = Vec::<f64>::try_from(expected.double("num_examples")).unwrap();
    let total: f64 = examples.iter().sum();
    let uniform = vec![1.0 / examples.len() as f64; examples.len()];
    [
        ("uniform", uniform),
        ("weighted", examples.iter().map(|n| n / total).collect()),
    ]
}

/// Client i's slice of a stacked expected tensor.
fn slice(expected: &Expected, name: &str, client: i64) -> HostTensor {
    HostTensor::from_tensor(&expected.get(name).select(0, client)).unwrap()
}

fn tensor(state: &TensorMap, name: &str) -> Tensor {
    state
        .get(name)
        .unwrap()
        .to_tensor(Device::Cpu)
        .unwrap()
        .to_kind(Kind::Double)
}

#[test]
fn golden_fedex_lora_merges_the_residual_into_layers_that_are_not_square() {
    let expected = Expected::read(&golden().join("aggregate/expected.safetensors"));
    let (clients, r, d_in) = expected.get("lora.A").size3().unwrap();
    let layer = layer(expected.get("lora.B").size()[1], d_in);
    let scaling = expected.scalar("lora.scaling");
    let lora = lora_of(r, scaling);
    let (a, b) = (tensor_name(&layer, lora::A), tensor_name(&layer, lora::B));
    let update = |client| {
        let mut update = TensorMap::default();
        update.insert(&a, slice(&expected, "lora.A", client));
        update.insert(&b, slice(&expected, "lora.B", client));
        update
    };
    let updates: Vec<TensorMap> = (0..clients).map(update).collect();
    let base = expected.double("base");
    for (name, weights) in weightings(&expected) {
        let mut state = GlobalState::default();
        let layers = [layer.clone()];
        let report = aggregate("fedex", &lora, &layers, &updates, &weights, &mut state);
        let want = |what: &str| expected.double(&format!("lora.{name}.{what}"));
        let delta = tensor(&state.base_delta, "layer.weight");
        assert_close("A", &tensor(&state.trained, &a), &want("A"), 1e-6);
        assert_close("B", &tensor(&state.trained, &b), &want("B"), 1e-6);
        assert_close("residual", &delta, &(want("residual") * scaling), 1e-6);
        let product = tensor(&state.trained, &b).matmul(&tensor(&state.trained, &a)) * scaling;
        let after = &base + &delta;
        assert_close("base", &after, &want("base_after"), 1e-6);
        assert_close("effective", &(after + product), &want("effective"), 1e-6);
        assert!(
            report.exactness_error < 1e-6,
            "{name}: {}",
            report.exactness_error
        );
    }
}

#[test]
fn golden_fedex_vera_merges_the_residual_into_layers_that_are_not_square() {
    let expected = Expected::read(&golden().join("aggregate/expected.safetensors"));
    let (r, d_in) = expected.get("vera.A").size2().unwrap();
    let d_out = expected.get("vera.B").size()[0];
    let layer = layer(d_out, d_in);
    let projection = Projection {
        a: expected.host("vera.A"),
        b: expected.host("vera.B"),
    };
    let vera = Vera {
        r,
        d_initial: 0.1,
        dropout: 0.0,
        scaling: 1.0,
        init_weights: true,
        projection,
    };
    let (b, d) = (tensor_name(&layer, LAMBDA_B), tensor_name(&layer, LAMBDA_D));
    let update = |client| {
        let mut update = TensorMap::default();
        update.insert(&b, slice(&expected, "vera.lambda_b", client));
        update.insert(&d, slice(&expected, "vera.lambda_d", client));
        update
    };
    let clients = expected.get("vera.lambda_b").size()[0];
    let updates: Vec<TensorMap> = (0..clients).map(update).collect();
    for (name, weights) in weightings(&expected) {
        let mut state = GlobalState::default();
        let layers = [layer.clone()];
        let report = aggregate("fedex_vera", &vera, &layers, &updates, &weights, &mut state);
        let want = |what: &str| expected.double(&format!("vera.{name}.{what}"));
        let delta = tensor(&state.base_delta, "layer.weight");
        let (lambda_b, lambda_d) = (tensor(&state.trained, &b), tensor(&state.trained, &d));
        assert_close("lambda_b", &lambda_b, &want("lambda_b"), 1e-6);
        assert_close("lambda_d", &lambda_d, &want("lambda_d"), 1e-6);
        assert_close("residual", &delta, &want("residual"), 1e-6);
        let scaled = expected.double("vera.B") * lambda_b.unsqueeze(1) * lambda_d.unsqueeze(0);
        let after = expected.double("base") + &delta;
        assert_close("base", &after, &want("base_after"), 1e-6);
        let effective = after + scaled.matmul(&expected.double("vera.A"));
        assert_close("effective", &effective, &want("effective"), 1e-6);
        assert!(
            report.exactness_error < 1e-6,
            "{name}: {}",
            report.exactness_error
        );
    }
}

#[test]
fn golden_ffa_averages_b_and_misses_nothing() {
    let expected = Expected::read(&golden().join("aggregate/expected.safetensors"));
    let (clients, r, d_in) = expected.get("lora.A").size3().unwrap();
    let layer = layer(expected.get("lora.B").size()[1], d_in);
    let lora = Lora {
        r,
        alpha: 8.0,
        dropout: 0.0,
        rank_stabilized: false,
        own: std::collections::BTreeMap::new(),
        init_weights: true,
    };
    let trained = lora.tensors(&layer);
    let b_only: Vec<&str> = trained
        .iter()
        .filter(|t| methods::find("ffa").unwrap().method.trains(t, 1))
        .map(|t| t.suffix)
        .collect();
    assert_eq!(b_only, [lora::B]);
    assert!(
        trained
            .iter()
            .any(|t| t.suffix == lora::A && t.role == Role::Trained)
    );
    let b = tensor_name(&layer, lora::B);
    let update = |client| TensorMap::from_iter([(b.clone(), slice(&expected, "lora.B", client))]);
    let updates: Vec<TensorMap> = (0..clients).map(update).collect();
    for (name, weights) in weightings(&expected) {
        let layers = [layer.clone()];
        let trained = initial_state(&lora, &layers, 3, 0);
        let mut state = GlobalState {
            trained,
            base_delta: TensorMap::default(),
        };
        let first_a = state.trained.get(&tensor_name(&layer, lora::A)).cloned();
        let report = aggregate("ffa", &lora, &layers, &updates, &weights, &mut state);
        let want = expected.double(&format!("ffa.{name}.B"));
        assert_close("B", &tensor(&state.trained, &b), &want, 1e-6);
        assert_eq!(
            state.trained.get(&tensor_name(&layer, lora::A)).cloned(),
            first_a
        );
        assert!(state.base_delta.is_empty());
        assert!(
            report.exactness_error < 1e-6,
            "{name}: {}",
            report.exactness_error
        );
    }
}

/// GPT-2's weights lie as (d_in, d_out). A layer that is not square shows a wrong orientation.
#[test]
fn golden_decoder_aggregate_follows_how_each_weight_lies() {
    let file = golden().join("decoder-aggregate/expected.safetensors");
    if !file.is_file() {
        eprintln!("skipped: no {}", file.display());
        return;
    }
    let expected = Expected::read(&file);
    for (name, layout) in [
        ("c_attn", WeightLayout::InOut),
        ("mlp_c_proj", WeightLayout::InOut),
        ("v_proj", WeightLayout::OutIn),
        ("gate_proj", WeightLayout::OutIn),
    ] {
        let (clients, r, d_in) = expected.get(&format!("{name}.A")).size3().unwrap();
        let layer = LinearLayer {
            layout,
            ..layer(expected.get(&format!("{name}.B")).size()[1], d_in)
        };
        let base = expected.double(&format!("{name}.W0"));
        assert_eq!(base.size(), layer.weight_shape(), "{name}");
        let scaling = expected.scalar("scaling");
        let lora = lora_of(r, scaling);
        let updates: Vec<TensorMap> = (0..clients)
            .map(|client| {
                let mut update = TensorMap::default();
                for (suffix, part) in [(lora::A, "A"), (lora::B, "B")] {
                    let values = slice(&expected, &format!("{name}.{part}"), client);
                    update.insert(tensor_name(&layer, suffix), values);
                }
                update
            })
            .collect();
        for (weighting, weights) in weightings(&expected) {
            let mut state = GlobalState::default();
            let layers = [layer.clone()];
            let report = aggregate("fedex", &lora, &layers, &updates, &weights, &mut state);
            let want = |what: &str| expected.double(&format!("{name}.{weighting}.{what}"));
            let part = |suffix| tensor(&state.trained, &tensor_name(&layer, suffix));
            let own = layer
                .as_weight(&(part(lora::B).matmul(&part(lora::A)) * scaling))
                .unwrap();
            let after = &base + tensor(&state.base_delta, &layer.weight());
            let close = |what: &str, got: &Tensor| {
                assert_close(&format!("{name} {what}"), got, &want(what), 1e-6);
            };
            close("A", &part(lora::A));
            close("B", &part(lora::B));
            close("normal.effective", &(&base + &own));
            close("ours.W", &after);
            close("ours.effective", &(after + own));
            assert!(report.exactness_error < 1e-6, "{name}: {report:?}");
        }
    }
}

/// A linear method may be given the mean of the updates in their place; the others may not.
#[test]
fn linear_methods_and_no_others_depend_on_means_alone() {
    let layer = layer(9, 7);
    let (r, layers) = (3, [layer.clone()]);
    let lora = lora_of(r, 0.5);
    let random = |seed: i64| {
        tch::manual_seed(seed);
        let mut tensors = TensorMap::default();
        for (suffix, shape) in [(lora::A, [r, 7]), (lora::B, [9, r])] {
            let values = Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let values = HostTensor::from_tensor(&values).unwrap();
            tensors.insert(tensor_name(&layer, suffix), values);
        }
        tensors
    };
    for info in methods::METHODS {
        if !info
            .adapters
            .contains(&regatta::adapter::settings::AdapterKind::Lora)
        {
            continue;
        }
        let trained = |tensors: TensorMap| -> TensorMap {
            let kinds = lora.tensors(&layer);
            let sent = kinds.iter().filter(|kind| info.method.trains(kind, 1));
            let sent: Vec<_> = sent.map(|kind| tensor_name(&layer, kind.suffix)).collect();
            let all = tensors.0.into_iter();
            all.filter(|(name, _)| sent.contains(name)).collect()
        };
        let start = GlobalState {
            trained: random(0),
            ..GlobalState::default()
        };
        let updates: Vec<TensorMap> = (1..4).map(|seed| trained(random(seed))).collect();
        let weights = [0.5, 0.2, 0.3];
        let mean = |name: &str| {
            let parts = updates.iter().zip(weights);
            let sum: Tensor = parts.map(|(one, weight)| tensor(one, name) * weight).sum();
            HostTensor::from_tensor(&sum).unwrap()
        };
        let means: TensorMap = updates[0]
            .iter()
            .map(|(name, _)| (name.to_owned(), mean(name)))
            .collect();
        let mut each = start.clone();
        aggregate(info.name, &lora, &layers, &updates, &weights, &mut each);
        let mut together = start;
        aggregate(info.name, &lora, &layers, &[means], &[1.0], &mut together);
        let weight = |state: &GlobalState| {
            let part = |suffix| tensor(&state.trained, &tensor_name(&layer, suffix));
            let delta = state.base_delta.get(&layer.weight());
            let delta = delta.map(|delta| delta.to_tensor(Device::Cpu).unwrap());
            let own = part(lora::B).matmul(&part(lora::A)) * 0.5;
            delta.map_or(own.shallow_clone(), |delta| own + delta)
        };
        let gap = (weight(&each) - weight(&together)).abs().max();
        let gap = gap.double_value(&[]);
        assert_eq!(gap < 1e-5, info.linear, "{}: {gap:e}", info.name);
    }
}

#[test]
fn many_layers_of_one_shape_give_the_bits_of_each_by_itself() {
    // More than are worked on at once.
    let layers: Vec<LinearLayer> = (0..9)
        .map(|at| LinearLayer {
            module: format!("layer.{at}"),
            ..layer(900, 700)
        })
        .collect();
    let lora = lora_of(2, 1.5);
    let start = initial_state(&lora, &layers, 1, 1);
    let update = |seed| {
        let mut update = initial_state(&lora, &layers, seed, 1);
        for layer in &layers {
            let name = tensor_name(layer, lora::B);
            let tensor = Tensor::full([900, 2], seed as f64, (Kind::Float, Device::Cpu));
            update.insert(&name, HostTensor::from_tensor(&tensor).unwrap());
        }
        update
    };
    let updates = [update(2), update(3)];
    let mut whole = GlobalState {
        trained: start.clone(),
        ..GlobalState::default()
    };
    let aggregated = |layers: &[LinearLayer], state: &mut GlobalState| {
        aggregate("fedex", &lora, layers, &updates, &[0.5, 0.5], state)
    };
    let report = aggregated(&layers, &mut whole);
    assert_eq!(report.residual_ranks.len(), 1);
    assert!(report.exactness_error < 1e-6);
    for layer in &layers {
        let mut alone = GlobalState {
            trained: start.clone(),
            ..GlobalState::default()
        };
        aggregated(std::slice::from_ref(layer), &mut alone);
        let name = layer.weight();
        assert_eq!(alone.base_delta.get(&name), whole.base_delta.get(&name));
    }
}
