//! Exactness for random shapes, ranks, clients, weights and survivors.

use proptest::prelude::*;
use regatta::adapter::lora::Lora;
use regatta::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use regatta::adapter::projection::Projection;
use regatta::adapter::sorf::{SorfVera, transform};
use regatta::adapter::vera::Vera;
use regatta::adapter::{Adapter, initial_state};
use regatta::aggregate::methods;
use regatta::aggregate::state::GlobalState;
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::linear_layer::{LinearLayer, WeightLayout};
use tch::{Device, Kind, Tensor};

use crate::aggregation::aggregate;

/// A random federation: layers of two shapes, an adapter, clients' updates and weights.
#[derive(Debug)]
struct Case {
    layers: Vec<LinearLayer>,
    r: i64,
    clients: usize,
    weights: Vec<f64>,
    seed: u64,
}

prop_compose! {
    fn case()(
        wide in (1_i64..8, 1_i64..14),
        other in (1_i64..8, 1_i64..14),
        count in 1_usize..4,
        r in 1_i64..4,
        clients in 1_usize..6,
        raw in prop::collection::vec(0.05_f64..1.0, 6),
        seed in any::<u64>(),
    ) -> Case {
        // Even outputs, for SORF-VeRA, and at least r on either side.
        let layer = |i: usize, (out, input): (i64, i64)| LinearLayer {
            module: format!("layer.{i}"),
            layer: i as i64,
            d_in: input + r,
            d_out: 2 * (out + r),
            layout: WeightLayout::OutIn,
        };
        let mut layers: Vec<_> = (0..count).map(|i| layer(i, wide)).collect();
        layers.push(layer(count, other));
        let total: f64 = raw[..clients].iter().sum();
        let weights = raw[..clients].iter().map(|w| w / total).collect();
        Case { layers, r, clients, weights, seed }
    }
}

impl Case {
    fn adapter(&self, kind: &str) -> Box<dyn Adapter> {
        let (r, dropout) = (self.r, 0.0);
        let projection = Projection::from_key(self.seed, r, &self.layers);
        match kind {
            "lora" => Box::new(Lora {
                r,
                alpha: 5.0,
                dropout,
                rank_stabilized: true,
                own: std::collections::BTreeMap::new(),
                init_weights: true,
            }),
            "vera" => Box::new(Vera {
                r,
                d_initial: 0.1,
                dropout,
                scaling: 0.7,
                init_weights: true,
                projection,
            }),
            _ => {
                let matrix = |layer: &LinearLayer| {
                    let d = layer.d_out;
                    let entries = transform::orthogonal(d as usize, self.seed % 1000);
                    let entries = entries.into_iter().map(|x| x as f32).collect();
                    (d, HostTensor::new(vec![d, d], entries).unwrap())
                };
                let transforms = self.layers.iter().map(matrix).collect();
                Box::new(SorfVera {
                    r,
                    d_initial: 0.1,
                    dropout,
                    projection,
                    transforms,
                })
            }
        }
    }

    /// What a client trained: the start plus a pseudo-random change, in all tensors of the method.
    fn update(&self, adapter: &dyn Adapter, method: &str, client: usize) -> TensorMap {
        let method = methods::find(method).unwrap().method;
        let start = initial_state(adapter, &self.layers, self.seed, 0);
        let mut update = TensorMap::default();
        for layer in &self.layers {
            for tensor in adapter
                .tensors(layer)
                .iter()
                .filter(|t| method.trains(t, 1))
            {
                let name = tensor_name(layer, tensor.suffix);
                let mut value = start.get(&name).unwrap().clone();
                for (i, x) in value.values_mut().iter_mut().enumerate() {
                    let phase = (self.seed % 97) as f32 + (client * 31 + i * 7) as f32;
                    *x += 0.5 * (phase + name.len() as f32 * 1.7).sin();
                }
                update.insert(name, value);
            }
        }
        update
    }

    /// Relative error of the effective weights against the ideal, all products dense in float64.
    fn dense_error(
        &self,
        adapter: &dyn Adapter,
        updates: &[TensorMap],
        state: &GlobalState,
    ) -> f64 {
        let start = initial_state(adapter, &self.layers, self.seed, 0);
        let borrowed: Vec<&TensorMap> = updates.iter().collect();
        let (mut missed, mut ideal) = (0.0, 0.0);
        for layer in &self.layers {
            let group = LayerGroup::of(std::slice::from_ref(layer)).remove(0);
            // What nobody trains, an update has from the state.
            let dense = |own: &TensorMap, state: &TensorMap| {
                let one = WeightedUpdates::of_one(state, &own, Device::Cpu);
                adapter
                    .factors(&group, &one)
                    .unwrap()
                    .product()
                    .unwrap()
                    .squeeze_dim(0)
            };
            let mut want = Tensor::zeros([layer.d_out, layer.d_in], (Kind::Double, Device::Cpu));
            for (update, weight) in borrowed.iter().zip(&self.weights) {
                want += dense(update, &start) * *weight;
            }
            let mut got = dense(&state.trained, &state.trained);
            if let Some(delta) = state.base_delta.get(&format!("{}.weight", layer.module)) {
                got += delta.to_tensor(Device::Cpu).unwrap();
            }
            let squared = |x: Tensor| (&x * &x).sum(Kind::Double).double_value(&[]);
            missed += squared(&got - &want);
            ideal += squared(want);
        }
        (missed / ideal.max(1e-12)).sqrt()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn exact_methods_give_the_ideal_weights_for_any_federation(case in case()) {
        let methods = [
            ("fedex", "lora"),
            ("fedex_vera", "vera"),
            ("sorf_vera_exact", "sorf_vera"),
            ("flora", "lora"),
            ("fedsvd", "lora"),
            ("rolora", "lora"),
            ("ffa", "lora"),
            ("ffa", "vera"),
            ("ffa", "sorf_vera"),
        ];
        for (method, kind) in methods {
            let adapter = case.adapter(kind);
            let updates: Vec<_> =
                (0..case.clients).map(|c| case.update(&*adapter, method, c)).collect();
            let trained = initial_state(&*adapter, &case.layers, case.seed, 0);
            let mut state = GlobalState { trained, ..GlobalState::default() };
            let report =
                aggregate(method, &*adapter, &case.layers, &updates, &case.weights, &mut state);
            let dense = case.dense_error(&*adapter, &updates, &state);
            prop_assert!(dense < 1e-6, "{method} on {kind}: {dense:e}");
            prop_assert!(report.exactness_error < 1e-6, "{method}: {:e}", report.exactness_error);
        }
    }

    #[test]
    fn the_measured_error_is_the_true_one_where_a_method_misses(case in case()) {
        for (method, kind) in [("fedit", "lora"), ("fedit", "vera"), ("sorf_vera", "sorf_vera")] {
            let adapter = case.adapter(kind);
            let updates: Vec<_> =
                (0..case.clients).map(|c| case.update(&*adapter, method, c)).collect();
            let trained = initial_state(&*adapter, &case.layers, case.seed, 0);
            let mut state = GlobalState { trained, ..GlobalState::default() };
            let report =
                aggregate(method, &*adapter, &case.layers, &updates, &case.weights, &mut state);
            let dense = case.dense_error(&*adapter, &updates, &state);
            let gap = (dense - report.exactness_error).abs();
            prop_assert!(gap < 1e-6 * dense.max(1.0), "{method}: {dense:e}, {:e}", report.exactness_error);
        }
    }
}

#[test]
fn a_fleet_of_hundreds_is_aggregated_exactly_some_clients_at_a_time() {
    let (clients, r) = (130, 2);
    let layer = |i: i64| LinearLayer {
        module: format!("layer.{i}"),
        layer: i,
        d_in: 9,
        d_out: 12,
        layout: WeightLayout::OutIn,
    };
    let case = Case {
        layers: (0..2).map(layer).collect(),
        r,
        clients,
        weights: vec![1.0 / clients as f64; clients],
        seed: 3,
    };
    for (method, kind) in [
        ("fedex", "lora"),
        ("fedex_vera", "vera"),
        ("sorf_vera_exact", "sorf_vera"),
    ] {
        let adapter = case.adapter(kind);
        let updates: Vec<_> = (0..clients)
            .map(|c| case.update(&*adapter, method, c))
            .collect();
        let trained = initial_state(&*adapter, &case.layers, case.seed, 0);
        let mut state = GlobalState {
            trained,
            ..GlobalState::default()
        };
        let report = aggregate(
            method,
            &*adapter,
            &case.layers,
            &updates,
            &case.weights,
            &mut state,
        );
        let dense = case.dense_error(&*adapter, &updates, &state);
        assert!(dense < 1e-6, "{method}: {dense:e}");
        assert!(
            report.exactness_error < 1e-6,
            "{method}: {:e}",
            report.exactness_error
        );
    }
}
