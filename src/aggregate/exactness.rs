//! The residual merged into frozen weights, and a round's miss measured.
//!
//! FedEx-LoRA: Singhal et al., *FedEx-LoRA: Exact Aggregation for Federated and Efficient
//! Fine-Tuning of Large Language Models*, 2025. The residual, (d_out, d_in), is added to a weight
//! as the layer's weight lies ([`LinearLayer::as_weight`](crate::model::linear_layer::LinearLayer::as_weight)).
//!
//! All norms are taken in float64. "Effective" is what the server sends, float32 adapters and
//! float32 base delta; what a client loses when it adds the delta to its float32 weights is the
//! rounding of the weights themselves.

use tch::{Device, Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::population::LayerGroup;
use crate::aggregate::ideal::ExactUpdate;
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Report, Round};
use crate::base::tensors::HostTensor;
use crate::model::ModelError;

/// Bytes of dense updates that are worked on at once, in float64: a layer of a base model or some of a
/// small one. More is no faster, and what many clients' factors take beside it is held as well.
const AT_ONCE: i64 = 4 << 20;

/// Squared norms summed over layers.
#[derive(Debug, Default)]
struct Miss {
    error: f64,
    ideal: f64,
    update: f64,
    residual: f64,
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

    fn report(&self, residual_ranks: Vec<Option<i64>>) -> Report {
        Report {
            exactness_error: self.relative(),
            residual_ranks,
            update_norm: self.update.sqrt(),
            ideal_norm: self.ideal.sqrt(),
            residual_norm: self.residual.sqrt(),
        }
    }
}

/// Measures what a state whose base did not change misses of the ideal.
///
/// # Errors
/// When a tensor is missing or the device fails.
pub fn measure(round: &Round<'_>, state: &GlobalState) -> Result<Report, ModelError> {
    let parts = round.groups.iter().flat_map(|group| group.parts(AT_ONCE));
    let pair = |part: LayerGroup| -> Result<_, ModelError> {
        Ok((
            ExactUpdate::of(round, &part)?,
            round.update_of(state, &part)?,
        ))
    };
    compare(round, parts.map(pair))
}

/// Measures what updates miss of their ideals; the pairs are of all layers, in any division.
///
/// # Errors
/// When a pair is an error, or the device fails.
pub fn compare(
    round: &Round<'_>,
    pairs: impl IntoIterator<Item = Result<(ExactUpdate, Factors), ModelError>>,
) -> Result<Report, ModelError> {
    let mut miss = Miss::default();
    for pair in pairs {
        let (ideal, update) = pair?;
        miss.ideal += ideal.squared_norm()?;
        miss.update += update.squared_norm()?;
        miss.error += ideal.minus(&update)?.squared_norm()?;
    }
    // Nothing is merged, so all that the adapter misses stays missing.
    miss.residual = miss.error;
    Ok(miss.report(vec![None; round.groups.len()]))
}

/// Adds to the base what the state's adapter misses of the ideal, times the round's residual scale,
/// and measures what is still missed.
///
/// # Errors
/// When a tensor is missing or the device fails.
pub fn merge_residual(round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
    let mut miss = Miss::default();
    let mut residual_ranks = Vec::new();
    for group in round.groups {
        let mut rank = None;
        for part in group.parts(AT_ONCE) {
            let ideal = ExactUpdate::of(round, &part)?;
            miss.ideal += ideal.squared_norm()?;
            let update = round.update_of(state, &part)?;
            miss.update += update.squared_norm()?;
            let residual = ideal.minus(&update)?;
            drop(ideal);
            let merged = add_to_base(&residual.product()?, round.residual_scale, &part, state)?;
            miss.residual += merged.residual;
            miss.error += merged.missing;
            rank = Some(residual.rank());
        }
        residual_ranks.push(rank);
    }
    Ok(miss.report(residual_ranks))
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
    add_to_base(&update.product()?, -1.0, group, state).map(drop)
}

/// Squared norms of a residual that was merged.
#[derive(Debug, Default)]
struct Merged {
    /// Of the residual itself.
    residual: f64,
    /// Of the part of it that is missing afterwards, float32 rounding included.
    missing: f64,
}

/// Adds `scale` times a residual, (L, d_out, d_in), to the base delta.
fn add_to_base(
    residual: &Tensor,
    scale: f64,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<Merged, ModelError> {
    let dense = residual.f_to_device(Device::Cpu)?;
    let mut merged = Merged::default();
    for (layer, residual) in group.layers.iter().zip(dense.f_unbind(0)?) {
        let (name, residual) = (layer.weight(), layer.as_weight(&residual)?);
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
        merged.residual += squared_norm(&residual)?;
        merged.missing += squared_norm(&residual.f_sub(&added)?)?;
        state.base_delta.insert(name, kept);
    }
    Ok(merged)
}

fn squared_norm(x: &Tensor) -> Result<f64, ModelError> {
    Ok(x.f_mul(x)?.f_sum(Kind::Double)?.f_double_value(&[])?)
}
