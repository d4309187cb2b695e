//! What a state must be before it becomes the server's, and how far an update goes.
//!
//! Training squares what it computes with, in layer norms say, and does so in float32. So a value
//! is of use only where its square is a float32: below [`LIMIT`]. The same holds for what the
//! adapter adds to a layer, which may be past it where its factors are not.

use std::collections::BTreeSet;

use tch::Device;

use crate::adapter::Adapter;
use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use crate::aggregate::Report;
use crate::aggregate::state::GlobalState;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;

/// 2⁶⁴, whose square is the first power of two past float32.
pub const LIMIT: f32 = 18_446_744_073_709_551_616.0;

/// The first value that is not a number, or not below [`LIMIT`] in magnitude, and where it is.
#[must_use]
pub fn first_misfit(tensor: &HostTensor) -> Option<(usize, f32)> {
    let values = tensor.values();
    // Asked this way round, NaN is a misfit.
    let fits = |value: &f32| value.abs() < LIMIT;
    // Most tensors have none: a loop without an exit is several times as fast.
    if values.iter().fold(true, |all, value| all & fits(value)) {
        return None;
    }
    let at = values.iter().position(|value| !fits(value))?;
    Some((at, values[at]))
}

/// Says what is wrong with a state.
///
/// # Errors
/// The first tensor with a value that is not finite, or not below [`LIMIT`].
pub fn check_state(state: &GlobalState) -> Result<(), String> {
    let parts = [
        ("", &state.trained),
        ("the base delta of ", &state.base_delta),
    ];
    for (of, tensors) in parts {
        for (name, tensor) in tensors.iter() {
            if let Some((at, value)) = first_misfit(tensor) {
                return Err(format!("{of}{name} would hold {value:e} at position {at}"));
            }
        }
    }
    Ok(())
}

/// Says what is wrong with what an aggregation made.
///
/// # Errors
/// As [`check_state`]; or when what the adapter adds to the model, or the distance from the ideal,
/// is not finite or past [`LIMIT`].
pub fn check_aggregate(state: &GlobalState, report: &Report) -> Result<(), String> {
    check_state(state)?;
    let norm = report.update_norm;
    if norm.is_nan() || norm >= f64::from(LIMIT) {
        return Err(format!("the adapter would add {norm:e} to the model"));
    }
    if !report.exactness_error.is_finite() {
        return Err("its distance from the ideal would be no number".to_owned());
    }
    Ok(())
}

/// How far an update goes from where it started: the norm of its contribution to the ideal,
/// `‖s (ΔWᵢ − ΔW_start)‖_F` over all adapted layers, together with `‖xᵢ − x_start‖` over what else
/// is trained (the head, biases, further modules): the root of the sum of the squares. Infinite
/// where it cannot be computed.
#[must_use]
pub fn update_norm(
    adapter: &dyn Adapter,
    groups: &[LayerGroup],
    start: &TensorMap,
    update: &TensorMap,
    device: Device,
) -> f64 {
    let beside = beside_norm_squared(adapter, groups, start, update);
    let adapted = adapted_norm_squared(adapter, groups, start, update, device);
    let norm = adapted.map_or(f64::INFINITY, |adapted| (adapted + beside).sqrt());
    if norm.is_nan() { f64::INFINITY } else { norm }
}

fn adapted_norm_squared(
    adapter: &dyn Adapter,
    groups: &[LayerGroup],
    start: &TensorMap,
    update: &TensorMap,
    device: Device,
) -> Result<f64, ModelError> {
    let mut squares = 0.0;
    for group in groups {
        let factors = |tensors: &TensorMap| {
            let one = WeightedUpdates::of_one(start, &tensors, device);
            adapter.factors(group, &one)
        };
        squares += factors(update)?.minus(&factors(start)?)?.squared_norm()?;
    }
    Ok(squares)
}

/// The names of all tensors that an adapter has in these layers.
pub(crate) fn adapter_tensors(adapter: &dyn Adapter, groups: &[LayerGroup]) -> BTreeSet<String> {
    let layers = groups.iter().flat_map(|group| &group.layers);
    let tensors = layers.flat_map(|layer| {
        let tensors = adapter.tensors(layer).into_iter();
        tensors.map(|tensor| tensor_name(layer, tensor.suffix))
    });
    tensors.collect()
}

fn beside_norm_squared(
    adapter: &dyn Adapter,
    groups: &[LayerGroup],
    start: &TensorMap,
    update: &TensorMap,
) -> f64 {
    let adapted = adapter_tensors(adapter, groups);
    let mut squares = 0.0;
    for (name, tensor) in update.iter().filter(|(name, _)| !adapted.contains(*name)) {
        let Some(start) = start.get(name) else {
            return f64::INFINITY;
        };
        let pairs = tensor.values().iter().zip(start.values());
        squares += pairs
            .map(|(now, then)| (f64::from(*now) - f64::from(*then)).powi(2))
            .sum::<f64>();
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::lora::{A, B, Lora};
    use crate::model::linear_layer::{LinearLayer, WeightLayout};

    /// The largest float32 below 2⁶⁴.
    const BELOW: f32 = f32::from_bits(LIMIT.to_bits() - 1);

    fn state(value: f32) -> GlobalState {
        let mut state = GlobalState::default();
        state.trained.insert("head", HostTensor::full(&[2], 1.0));
        state
            .base_delta
            .insert("layer.weight", HostTensor::full(&[3], 1.0));
        state
            .base_delta
            .0
            .get_mut("layer.weight")
            .unwrap()
            .values_mut()[1] = value;
        state
    }

    #[test]
    fn the_limit_is_where_squares_leave_float32() {
        assert!((BELOW * BELOW).is_finite());
        assert!((LIMIT * LIMIT).is_infinite());
    }

    #[test]
    fn a_state_is_sound_up_to_the_limit_and_not_from_there_on() {
        for sound in [0.0, f32::MIN_POSITIVE / 2.0, BELOW, -BELOW] {
            assert_eq!(check_state(&state(sound)), Ok(()));
        }
        for unsound in [LIMIT, -LIMIT, f32::MAX, f32::INFINITY, f32::NAN, -f32::NAN] {
            let reason = check_state(&state(unsound)).unwrap_err();
            assert!(
                reason.starts_with("the base delta of layer.weight would hold "),
                "{reason}"
            );
            assert!(reason.ends_with("at position 1"), "{reason}");
        }
    }

    #[test]
    fn an_aggregate_is_sound_only_if_what_its_adapter_adds_and_misses_is() {
        let check = |update_norm, exactness_error| {
            let report = Report {
                exactness_error,
                residual_ranks: Vec::new(),
                update_norm,
                ideal_norm: 1.0,
                residual_norm: 1.0,
            };
            check_aggregate(&state(1.0), &report)
        };
        assert_eq!(check(f64::from(BELOW), 1e30), Ok(()));
        for (norm, error) in [
            (f64::from(LIMIT), 0.0),
            (f64::NAN, 0.0),
            (f64::INFINITY, 0.0),
            (1.0, f64::NAN),
            (1.0, f64::INFINITY),
        ] {
            assert!(check(norm, error).is_err(), "{norm} {error}");
        }
    }

    /// LoRA of rank 1 on one layer, s = 2, and a head.
    fn tensors(a: [f32; 2], b: [f32; 3], head: f32) -> TensorMap {
        let layer = layer();
        let mut tensors = TensorMap::default();
        let (a, b) = (a.to_vec(), b.to_vec());
        tensors.insert(
            tensor_name(&layer, A),
            HostTensor::new(vec![1, 2], a).unwrap(),
        );
        tensors.insert(
            tensor_name(&layer, B),
            HostTensor::new(vec![3, 1], b).unwrap(),
        );
        tensors.insert("head", HostTensor::full(&[1], head));
        tensors
    }

    fn layer() -> LinearLayer {
        LinearLayer {
            module: "layer".into(),
            layer: 0,
            d_out: 3,
            layout: WeightLayout::OutIn,
            d_in: 2,
        }
    }

    fn norm(start: &TensorMap, update: &TensorMap) -> f64 {
        let lora = Lora {
            r: 1,
            alpha: 2.0,
            dropout: 0.0,
            rank_stabilized: false,
            own: std::collections::BTreeMap::new(),
            init_weights: true,
        };
        update_norm(
            &lora,
            &LayerGroup::of(&[layer()]),
            start,
            update,
            Device::Cpu,
        )
    }

    #[test]
    fn the_norm_is_that_of_the_scaled_change_of_the_weights_and_of_the_heads() {
        let start = tensors([3.0, 4.0], [0.0; 3], 1.0);
        assert_eq!(norm(&start, &start), 0.0);
        // ΔW = b aᵀ, of norm 2 · 5, doubled by s; the head moves by 15.
        let update = tensors([3.0, 4.0], [2.0, 0.0, 0.0], 16.0);
        assert!((norm(&start, &update) - 25.0).abs() < 1e-9);
        // What it had when it started does not count, and neither does what it did not train.
        let again = tensors([3.0, 4.0], [4.0, 0.0, 0.0], 31.0);
        let mut partial = again.clone();
        partial.0.remove(&tensor_name(&layer(), A));
        for later in [again, partial] {
            assert!((norm(&update, &later) - 25.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_norm_that_is_no_number_is_infinite() {
        let start = tensors([3.0, 4.0], [0.0; 3], 1.0);
        for head in [f32::NAN, f32::INFINITY] {
            assert_eq!(
                norm(&start, &tensors([1.0; 2], [1.0; 3], head)),
                f64::INFINITY
            );
        }
        let nan = tensors([1.0, f32::NAN], [1.0; 3], 1.0);
        assert_eq!(norm(&start, &nan), f64::INFINITY);
        let mut unknown = start.clone();
        unknown.insert("other", HostTensor::full(&[1], 0.0));
        assert_eq!(norm(&start, &unknown), f64::INFINITY);
    }
}
