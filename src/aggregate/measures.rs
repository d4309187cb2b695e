//! What is measured of an aggregation besides its exactness, to explain a method's results.
//!
//! Everything is computed on the host, in the order of the updates and of the tensors' names, so
//! that it is the same whatever the number of lanes and threads.

use std::collections::BTreeSet;

use regatta_actors::workload::update::Measures;

use crate::aggregate::Report;
use crate::aggregate::state::GlobalState;
use crate::base::tensors::{HostTensor, TensorMap};

/// See [`Report::ideal_norm`].
pub const IDEAL_NORM: &str = "ideal_norm";
/// See [`Report::residual_norm`].
pub const RESIDUAL_NORM: &str = "residual_norm";
/// See [`base_delta_norm`]; absent until something is added to the base.
pub const BASE_DELTA_NORM: &str = "base_delta_norm";
/// See [`client_drift`]; absent where it is undefined.
pub const CLIENT_DRIFT: &str = "client_drift";

/// An update that was aggregated, and where it started.
#[derive(Debug, Clone, Copy)]
pub struct ClientMove<'a> {
    /// The tensors that its client started from.
    pub start: &'a TensorMap,
    /// The tensors that it trained.
    pub update: &'a TensorMap,
    /// What it weighs; the weights sum to 1.
    pub weight: f64,
}

/// The measures of an aggregation, by name. One that is not finite is left out.
#[must_use]
pub fn measures(report: &Report, state: &GlobalState, drift: Option<f64>) -> Measures {
    let base = (!state.base_delta.is_empty()).then(|| base_delta_norm(state));
    let all = [
        (IDEAL_NORM, Some(report.ideal_norm)),
        (RESIDUAL_NORM, Some(report.residual_norm)),
        (BASE_DELTA_NORM, base),
        (CLIENT_DRIFT, drift),
    ];
    let finite = all.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| value.is_finite())?;
        Some((name.to_owned(), value))
    });
    finite.collect()
}

/// ‖·‖_F of what aggregation has added to the frozen weights so far, over all layers together. Where
/// a method makes up for the adapter's first ΔW in the base
/// ([`starts_at_pretrained`](crate::aggregate::Method::starts_at_pretrained)), that is a part of it.
#[must_use]
pub fn base_delta_norm(state: &GlobalState) -> f64 {
    let tensors = state.base_delta.iter();
    tensors
        .map(|(_, tensor)| squares(tensor))
        .sum::<f64>()
        .sqrt()
}

/// How far clients' adapters are from each other, in relation to how far they moved: their mean
/// distance from their mean, over their mean distance from where they started,
/// `Σ pᵢ ‖xᵢ − x̄‖ / Σ pᵢ ‖xᵢ − xᵢ,start‖` with `x̄ = Σ pᵢ xᵢ`, over the tensors of `names` that all
/// of them trained. 0: all ended in the same place; near 1: their moves have little in common. `None`
/// if no client moved.
#[must_use]
pub fn client_drift(names: &BTreeSet<String>, moves: &[ClientMove<'_>]) -> Option<f64> {
    let mut from_mean = vec![0.0; moves.len()];
    let mut from_start = vec![0.0; moves.len()];
    for name in names {
        // A tensor that some client did not train has no mean over all of them.
        let Some(pairs) = moves
            .iter()
            .map(|one| one.values(name))
            .collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let mut mean = vec![0.0; pairs.first().map_or(0, |(now, _)| now.len())];
        for (one, (now, _)) in moves.iter().zip(&pairs) {
            let terms = mean.iter_mut().zip(*now);
            terms.for_each(|(sum, value)| *sum += one.weight * f64::from(*value));
        }
        for (client, (now, start)) in pairs.iter().enumerate() {
            let distances = now.iter().zip(&mean);
            from_mean[client] +=
                sum_of_squares(distances.map(|(now, mean)| f64::from(*now) - mean));
            let distances = now.iter().zip(*start);
            from_start[client] +=
                sum_of_squares(distances.map(|(now, start)| f64::from(*now) - f64::from(*start)));
        }
    }
    let mean = |squares: &[f64]| -> f64 {
        let terms = moves.iter().zip(squares);
        terms.map(|(one, square)| one.weight * square.sqrt()).sum()
    };
    let moved = mean(&from_start);
    (moved > 0.0).then(|| mean(&from_mean) / moved)
}

impl<'a> ClientMove<'a> {
    /// The values of a tensor after training and before it.
    fn values(&self, name: &str) -> Option<(&'a [f32], &'a [f32])> {
        let (now, start) = (self.update.get(name)?, self.start.get(name)?);
        Some((now.values(), start.values()))
    }
}

fn sum_of_squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum()
}

/// The sum of a tensor's squares, in float64.
fn squares(tensor: &HostTensor) -> f64 {
    // Sums side by side, which a processor adds at once; the order is fixed.
    const SUMS: usize = 8;
    let chunks = tensor.values().chunks_exact(SUMS);
    let rest = sum_of_squares(chunks.remainder().iter().map(|value| f64::from(*value)));
    let mut sums = [0.0; SUMS];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(adapter: &[f32], head: f32) -> TensorMap {
        let mut tensors = TensorMap::default();
        let values = HostTensor::new(vec![adapter.len() as i64], adapter.to_vec());
        tensors.insert("adapter", values.unwrap());
        tensors.insert("head", HostTensor::full(&[1], head));
        tensors
    }

    fn drift(start: &TensorMap, updates: &[(TensorMap, f64)]) -> Option<f64> {
        let moves = updates.iter().map(|(update, weight)| ClientMove {
            start,
            update,
            weight: *weight,
        });
        let names = ["adapter".to_owned()].into();
        client_drift(&names, &moves.collect::<Vec<_>>())
    }

    #[test]
    fn drift_is_0_where_all_go_the_same_way_and_1_where_they_cancel() {
        let start = tensors(&[1.0, 2.0], 0.0);
        let same = [
            (tensors(&[2.0, 2.0], 9.0), 0.25),
            (tensors(&[2.0, 2.0], -9.0), 0.75),
        ];
        assert_eq!(drift(&start, &same), Some(0.0));
        let apart = [
            (tensors(&[3.0, 2.0], 0.0), 0.5),
            (tensors(&[-1.0, 2.0], 0.0), 0.5),
        ];
        assert_eq!(drift(&start, &apart), Some(1.0));
        // At right angles: each went 1, and is √2/2 from the mean.
        let angle = [
            (tensors(&[2.0, 2.0], 0.0), 0.5),
            (tensors(&[1.0, 3.0], 0.0), 0.5),
        ];
        assert!((drift(&start, &angle).unwrap() - 0.5f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn drift_is_weighted_and_there_is_none_without_a_move_or_a_common_tensor() {
        let start = tensors(&[0.0], 0.0);
        // The mean is 1: distances 3 and 1, moves 4 and 0.
        let uneven = [(tensors(&[4.0], 0.0), 0.25), (tensors(&[0.0], 0.0), 0.75)];
        assert_eq!(drift(&start, &uneven), Some(1.5));
        assert_eq!(drift(&start, &[(start.clone(), 1.0)]), None);
        let mut partial = tensors(&[4.0], 0.0);
        partial.0.remove("adapter");
        assert_eq!(
            drift(&start, &[(partial, 0.5), (tensors(&[4.0], 0.0), 0.5)]),
            None
        );
    }

    #[test]
    fn the_norm_of_the_base_delta_is_that_of_all_its_tensors_together() {
        let mut state = GlobalState::default();
        assert_eq!(base_delta_norm(&state), 0.0);
        // 19 threes and 4 fives: 171 + 100.
        state.base_delta.insert("a", HostTensor::full(&[19], 3.0));
        state
            .base_delta
            .insert("b", HostTensor::full(&[2, 2], -5.0));
        assert!((base_delta_norm(&state) - 271f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_there_or_not_finite_is_left_out() {
        let report = Report {
            exactness_error: 0.0,
            residual_ranks: Vec::new(),
            update_norm: 1.0,
            ideal_norm: 2.0,
            residual_norm: f64::INFINITY,
        };
        let found = measures(&report, &GlobalState::default(), None);
        assert_eq!(found, [(IDEAL_NORM.to_owned(), 2.0)].into());
    }
}
