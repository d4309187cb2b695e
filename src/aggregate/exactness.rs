//! The residual folded into frozen weights, and a round's miss measured.
//!
//! FedEx-LoRA: Singhal et al., *FedEx-LoRA: Exact Aggregation for Federated and Efficient
//! Fine-Tuning of Large Language Models*, 2024. The residual is added to a weight of shape
//! (d_out, d_in) as it stands, not transposed.
//!
//! All norms are taken in float64. "Effective" is what the server sends, float32 adapters and
//! float32 base delta; what a client loses when it adds the delta to its float32 weights is the
//! rounding of the weights themselves.

use tch::{Device, Kind, Tensor};

use super::{GlobalState, Report, Round};
use crate::adapter::{Factors, LayerGroup};
use crate::model::ModelError;
use crate::tensors::HostTensor;

/// Squared norms summed over layer groups.
#[derive(Debug, Default)]
struct Miss {
    error: f64,
    ideal: f64,
}

impl Miss {
    fn relative(&self) -> f64 {
        // Nobody changed anything: nothing was missed.
        if self.ideal == 0.0 {
            self.error.sqrt()
        } else {
            (self.error / self.ideal).sqrt()
        }
    }
}

/// Measures what a state whose base did not change misses of the ideal.
///
/// # Errors
/// When a tensor is missing or the device fails.
pub fn measure(round: &Round<'_>, state: &GlobalState) -> Result<Report, ModelError> {
    let pairs = round
        .groups
        .iter()
        .map(|group| Ok((round.ideal(group)?, round.update_of(state, group)?)));
    Ok(compare(&pairs.collect::<Result<Vec<_>, ModelError>>()?))
}

/// What the second update of each pair misses of the first, the ideal; a pair per layer group.
#[must_use]
pub fn compare(pairs: &[(Factors, Factors)]) -> Report {
    let mut miss = Miss::default();
    for (ideal, update) in pairs {
        miss.ideal += ideal.squared_norm();
        miss.error += ideal.minus(update).squared_norm();
    }
    Report {
        exactness_error: miss.relative(),
        residual_ranks: vec![None; pairs.len()],
    }
}

/// Adds to the base what the state's adapter misses of the ideal, times the round's fold scale,
/// and measures what is still missed.
///
/// # Errors
/// When a tensor is missing or the device fails.
pub fn fold_residual(round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
    let mut miss = Miss::default();
    let mut residual_ranks = Vec::new();
    for group in round.groups {
        let ideal = round.ideal(group)?;
        miss.ideal += ideal.squared_norm();
        let residual = ideal.minus(&round.update_of(state, group)?);
        miss.error += add_to_base(&residual, round.fold_scale, group, state)?;
        residual_ranks.push(Some(residual.rank()));
    }
    Ok(Report {
        exactness_error: miss.relative(),
        residual_ranks,
    })
}

/// Subtracts a state's own update from the base, so that the model starts where it was pretrained.
///
/// # Errors
/// When the device fails.
pub fn subtract_from_base(
    update: &Factors,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<(), ModelError> {
    add_to_base(update, -1.0, group, state).map(drop)
}

/// Adds `scale` times a residual to the base delta; gives the squared norm of the residual's part
/// that is missing afterwards, float32 rounding included.
fn add_to_base(
    residual: &Factors,
    scale: f64,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<f64, ModelError> {
    let dense = residual.product().f_to_device(Device::Cpu)?;
    let mut missing = 0.0;
    for (layer, residual) in group.layers.iter().zip(dense.f_unbind(0)?) {
        let name = format!("{}.weight", layer.module);
        let before = match state.base_delta.get(&name) {
            Some(delta) => delta.to_tensor(Device::Cpu)?.f_to_kind(Kind::Double)?,
            None => residual.f_zeros_like()?,
        };
        let after = before.f_add(&residual.f_mul_scalar(scale)?)?;
        let kept = HostTensor::from_tensor(&after)?;
        let added = kept
            .to_tensor(Device::Cpu)?
            .f_to_kind(Kind::Double)?
            .f_sub(&before)?;
        missing += squared_norm(&residual.f_sub(&added)?)?;
        state.base_delta.insert(name, kept);
    }
    Ok(missing)
}

fn squared_norm(x: &Tensor) -> Result<f64, ModelError> {
    Ok(x.f_mul(x)?.f_sum(Kind::Double)?.f_double_value(&[])?)
}
