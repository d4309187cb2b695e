//! Updates that started from earlier states, taken against the state that each started from.
//!
//! With the current state `W + s ΔW_now`, updates `ΔW_i` of weight `p_i` that started from states
//! whose own update was `ΔW_b(i)`, the ideal is
//!
//! `W + s (ΔW_now + Σ p_i (ΔW_i − ΔW_b(i)))`,
//!
//! and the adapter's tensors x become `x_now + Σ p_i (x_i − x_b(i))`. Both are sums over one
//! population: each update with `p_i`, each earlier state with `−Σ p_i` of those that started from
//! it, and the current state with what its own updates leave of 1. These weights sum to 1 as `p_i`
//! do, so every method aggregates them as it does fresh ones, and an exact one stays exact; with
//! fresh updates alone the current and the earlier states cancel, and the updates are left as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::tensors::TensorMap;

/// One update and where it started.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateWithBase {
    /// The tensors that the client trained.
    pub update: TensorMap,
    /// What it weighs, in proportion to the others.
    pub weight: f64,
    /// The round whose state it started from.
    pub base_round: u32,
}

/// Tensors with signed weights that sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture<'a> {
    /// The tensors, all of the same names.
    pub tensors: Vec<Cow<'a, TensorMap>>,
    /// Their weights.
    pub weights: Vec<f64>,
}

/// What updates weigh so that their weights sum to 1.
///
/// # Errors
/// When the weights have no sum to speak of: it is 0 or too small for a float64's precision, or
/// not finite. What is wrong, in words.
pub fn shares<'a>(
    updates: impl IntoIterator<Item = &'a UpdateWithBase, IntoIter: Clone>,
) -> Result<Vec<f64>, String> {
    let weights = updates.into_iter().map(|update| update.weight);
    let total: f64 = weights.clone().sum();
    if !(total > 0.0 && total.is_normal()) {
        return Err(format!(
            "the weights of the round's updates sum to {total:e}, which nothing can be divided by"
        ));
    }
    Ok(weights.map(|weight| weight / total).collect())
}

impl<'a> Mixture<'a> {
    /// The population that stands for updates of a round, with [`shares`] of them. `start` gives
    /// the trained tensors of the state that a round's clients started from, as far as they are
    /// known.
    #[must_use]
    pub fn of(
        updates: impl IntoIterator<Item = &'a UpdateWithBase, IntoIter: Clone>,
        shares: Vec<f64>,
        round: u32,
        start: impl Fn(u32) -> Option<Arc<TensorMap>>,
    ) -> Self {
        let mut updates = updates.into_iter();
        let stale = updates.clone().any(|update| update.base_round != round);
        if !stale {
            let tensors = updates.map(|u| Cow::Borrowed(&u.update));
            return Self {
                tensors: tensors.collect(),
                weights: shares,
            };
        }
        let mut states = BTreeMap::from([(round, 1.0)]);
        let (mut tensors, mut weights) = (Vec::new(), Vec::new());
        for (update, share) in updates.by_ref().zip(shares) {
            *states.entry(update.base_round).or_insert(0.0) -= share;
            // What a client did not train is as it was when it started.
            let start = start(update.base_round);
            let mut complete = start.map_or_else(TensorMap::default, |start| (*start).clone());
            complete.0.extend(update.update.0.clone());
            tensors.push(Cow::Owned(complete));
            weights.push(share);
        }
        for (base_round, weight) in states {
            if weight != 0.0
                && let Some(start) = start(base_round)
            {
                tensors.push(Cow::Owned((*start).clone()));
                weights.push(weight);
            }
        }
        Self { tensors, weights }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use regatta_actors::random::StreamKey;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::adapter::lora::{A, B, Lora};
    use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
    use crate::aggregate::Round;
    use crate::aggregate::methods::find;
    use crate::aggregate::state::GlobalState;
    use crate::base::tensors::HostTensor;
    use crate::model::linear_layer::{LinearLayer, WeightLayout};

    const R: i64 = 2;
    const SCALE: f64 = 1.5;

    fn layer() -> LinearLayer {
        LinearLayer {
            module: "encoder.layer.0.query".into(),
            layer: 0,
            d_out: 7,
            layout: WeightLayout::OutIn,
            d_in: 5,
        }
    }

    fn draw(name: &str, shape: &[i64]) -> HostTensor {
        let key = StreamKey {
            seed: 3,
            purpose: "test",
            name,
            round: 0,
            attempt: 0,
        };
        let mut stream = key.stream();
        let mut tensor = HostTensor::full(shape, 0.0);
        tensor
            .values_mut()
            .fill_with(|| stream.random_range(-1.0..1.0));
        tensor
    }

    /// LoRA tensors and a head, drawn by name.
    fn tensors(name: &str) -> TensorMap {
        let layer = layer();
        let mut map = TensorMap::default();
        map.insert(
            tensor_name(&layer, A),
            draw(&format!("{name} A"), &[R, layer.d_in]),
        );
        map.insert(
            tensor_name(&layer, B),
            draw(&format!("{name} B"), &[layer.d_out, R]),
        );
        map.insert("head", draw(&format!("{name} head"), &[3]));
        map
    }

    fn double(tensor: &HostTensor) -> Tensor {
        tensor.to_tensor(Device::Cpu).unwrap().to_kind(Kind::Double)
    }

    fn product(map: &TensorMap) -> Tensor {
        let get = |suffix| double(map.get(&tensor_name(&layer(), suffix)).unwrap());
        get(B).matmul(&get(A)) * SCALE
    }

    fn norm(x: &Tensor) -> f64 {
        (x * x).sum(Kind::Double).double_value(&[]).sqrt()
    }

    #[test]
    fn the_aggregate_of_stale_updates_is_exact_against_the_base_each_started_from() {
        let name = format!("{}.weight", layer().module);
        let mut state = GlobalState {
            trained: tensors("now"),
            ..GlobalState::default()
        };
        state
            .base_delta
            .insert(name.clone(), draw("base delta", &[7, 5]));
        let starts = BTreeMap::from([
            (3, Arc::new(tensors("three"))),
            (5, Arc::new(tensors("five"))),
            (6, Arc::new(state.trained.clone())),
        ]);
        let updates: Vec<_> = [(3, 0.2), (5, 0.1), (3, 0.3), (6, 0.4)]
            .into_iter()
            .enumerate()
            .map(|(i, (base_round, weight))| UpdateWithBase {
                update: tensors(&format!("client {i}")),
                weight,
                base_round,
            })
            .collect();
        let mut ideal = double(state.base_delta.get(&name).unwrap()) + product(&state.trained);
        let mut head = double(state.trained.get("head").unwrap());
        for update in &updates {
            let start = &starts[&update.base_round];
            ideal += (product(&update.update) - product(start)) * update.weight;
            let gain =
                double(update.update.get("head").unwrap()) - double(start.get("head").unwrap());
            head += gain * update.weight;
        }

        let weights = shares(&updates).unwrap();
        let mixture = Mixture::of(&updates, weights, 6, |round| starts.get(&round).cloned());
        assert!((mixture.weights.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let adapter = Lora {
            r: R,
            alpha: SCALE * R as f64,
            dropout: 0.0,
            rank_stabilized: false,
            own: BTreeMap::new(),
            init_weights: true,
        };
        let before = state.trained.clone();
        let borrowed: Vec<&TensorMap> = mixture.tensors.iter().map(|one| &**one).collect();
        let round = Round {
            round: 6,
            adapter: &adapter,
            groups: &LayerGroup::of(&[layer()]),
            updates: WeightedUpdates {
                state: &before,
                updates: &borrowed,
                weights: &mixture.weights,
                device: Device::Cpu,
            },
            residual_scale: 1.0,
            seed: 1,
        };
        let report = find("fedex")
            .unwrap()
            .method
            .aggregate(&round, &mut state)
            .unwrap();
        let effective = double(state.base_delta.get(&name).unwrap()) + product(&state.trained);
        assert!(norm(&(&effective - &ideal)) < 1e-6 * norm(&ideal));
        assert!(report.exactness_error < 1e-6, "{}", report.exactness_error);
        let got = double(state.trained.get("head").unwrap());
        assert!(norm(&(got - &head)) < 1e-6 * norm(&head));
    }

    #[test]
    fn fresh_updates_alone_are_left_as_they_are() {
        let update = UpdateWithBase {
            update: tensors("client"),
            weight: 3.0,
            base_round: 4,
        };
        let updates = [update];
        let mixture = Mixture::of(&updates, shares(&updates).unwrap(), 4, |_| None);
        assert!(matches!(mixture.tensors[..], [Cow::Borrowed(one)] if *one == updates[0].update));
        assert_eq!(mixture.weights, [1.0]);
    }

    #[test]
    fn weights_that_have_no_sum_to_speak_of_are_an_error_and_small_ones_are_not() {
        let of = |weights: &[f64]| {
            let update = |weight: &f64| UpdateWithBase {
                update: TensorMap::default(),
                weight: *weight,
                base_round: 1,
            };
            shares(&weights.iter().map(update).collect::<Vec<_>>())
        };
        let subnormal = f64::MIN_POSITIVE / 4.0;
        for wrong in [
            &[0.0, 0.0][..],
            &[subnormal, subnormal],
            &[1.0, f64::NAN],
            &[1.0, f64::INFINITY],
            &[-1.0],
            &[f64::MAX, f64::MAX],
        ] {
            let reason = of(wrong).unwrap_err();
            assert!(
                reason.contains("weights of the round's updates sum to"),
                "{reason}"
            );
        }
        assert_eq!(of(&[f64::MIN_POSITIVE, 0.0]), Ok(vec![1.0, 0.0]));
        assert_eq!(of(&[1e-300, 3e-300]), Ok(vec![0.25, 0.75]));
    }
}
