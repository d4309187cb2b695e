//! `sorf_vera` and `sorf_vera_exact`: what the server makes of `Λ̄ = Σ pᵢ Λ(mᵢ, θᵢ)`.
//!
//! A mean of scaled rotations is in general none, so both refit. `sorf_vera` takes the rank-r SVD
//! of `S Γ(b) B Λ̄ A` and fits b to `U Σ` and (m, θ) to `Vᵀ`, as its authors do: faithful, and it
//! loses most of the update each round. `sorf_vera_exact` keeps b, takes the scaled rotation
//! nearest to Λ̄, and folds the rest into the base.

use std::any::Any;

use tch::{Kind, Tensor};

use super::ideal::Ideal;
use super::{Aggregator, GlobalState, Report, Round, exactness};
use crate::adapter::sorf::{ANGLES, B_IM, B_RE, SCALE, SorfVera, mean_lambda, refit};
use crate::adapter::{AdapterTensor, Factors, LayerGroup, tensor_name};
use crate::model::ModelError;
use crate::tensors::HostTensor;

/// `sorf_vera`; see the module.
pub struct Refit;

impl Aggregator for Refit {
    fn name(&self) -> &'static str {
        "sorf_vera"
    }

    fn sends(&self, _tensor: &AdapterTensor) -> bool {
        true
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        let sorf = sorf_vera(round)?;
        let ideal = |group| sorf.core_factors(group, &round.updates);
        let ideals: Vec<_> = round.groups.iter().map(ideal).collect::<Result<_, _>>()?;
        let fits = ideals.iter().map(|ideal| Fit::of(ideal, sorf));
        let fits: Vec<_> = fits.collect::<Result<_, _>>()?;
        take_means_beside_lambda(round, state)?;
        for (group, fit) in round.groups.iter().zip(&fits) {
            store_lambda(&fit.rotation, &fit.scales, group, state)?;
            for (suffix, tensor) in [(B_RE, &fit.b_re), (B_IM, &fit.b_im)] {
                for (layer, row) in group.layers.iter().zip(tensor.f_unbind(0)?) {
                    let row = HostTensor::from_tensor(&row)?;
                    state.trained.insert(tensor_name(layer, suffix), row);
                }
            }
        }
        let fitted = |group| round.over_state(state, |one| sorf.core_factors(group, one));
        let pairs = ideals.into_iter().zip(round.groups);
        exactness::compare(pairs.map(|(ideal, group)| Ok((Ideal::Thin(ideal), fitted(group)?))))
    }
}

/// b, m and G for one group of layers, fitted to the SVD of the ideal update.
struct Fit {
    b_re: Tensor,
    b_im: Tensor,
    rotation: Tensor,
    scales: Tensor,
}

impl Fit {
    /// From [`SorfVera::core_factors`] of the ideal: S is orthogonal, so `S Γ(b) B ≈ U Σ` is the
    /// same as `Γ(b) B ≈ Sᵀ U Σ`, and `Sᵀ U` is what their SVD has for U.
    fn of(ideal: &Factors, sorf: &SorfVera) -> Result<Self, ModelError> {
        let (d_out, d_in) = (ideal.left.size()[1], ideal.right.size()[2]);
        let svd = refit::ThinSvd::of(ideal)?;
        let (a, b) = sorf
            .projection
            .slices(d_out, d_in, Kind::Double, ideal.left.device())?;
        let target = svd.u.f_mul(&svd.sigma.f_unsqueeze(1)?)?;
        let (b_re, b_im) = refit::fit_gamma(&b, &target)?;
        let polar = refit::nearest_rotation(&refit::solve_right(&svd.vt, &a)?)?;
        let scales = polar.sigma.f_abs()?.f_mean_dim(-1, false, Kind::Double)?;
        Ok(Self {
            b_re,
            b_im,
            rotation: polar.rotation,
            scales,
        })
    }
}

/// `sorf_vera_exact`; see the module.
pub struct ExactRefit;

impl Aggregator for ExactRefit {
    fn name(&self) -> &'static str {
        "sorf_vera_exact"
    }

    fn starts_at_pretrained(&self) -> bool {
        true
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        for group in round.groups {
            let lambda = mean_lambda(group, &round.updates, sorf_vera(round)?.r)?;
            let polar = refit::nearest_rotation(&lambda)?;
            // ‖m G − Λ̄‖ is least at m = ⟨G, Λ̄⟩ / r, the mean of the signed singular values.
            let scales = polar.sigma.f_mean_dim(-1, false, Kind::Double)?;
            store_lambda(&polar.rotation, &scales, group, state)?;
        }
        take_means_beside_lambda(round, state)?;
        exactness::fold_residual(round, state)
    }
}

/// The adapter as what these methods work on.
fn sorf_vera<'a>(round: &Round<'a>) -> Result<&'a SorfVera, ModelError> {
    let adapter: &dyn Any = round.adapter;
    adapter.downcast_ref().ok_or_else(|| {
        let found = round.adapter.name();
        ModelError::Refused(format!(
            "sorf_vera and sorf_vera_exact aggregate SORF-VeRA, not {found}"
        ))
    })
}

/// Means of the head and whatever else is trained; m and θ are refitted, not averaged.
fn take_means_beside_lambda(round: &Round<'_>, state: &mut GlobalState) -> Result<(), ModelError> {
    let refitted = |name: &str| name.ends_with(SCALE) || name.ends_with(ANGLES);
    state.take_means(&round.updates, |name| !refitted(name))
}

fn store_lambda(
    rotation: &Tensor,
    scales: &Tensor,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<(), ModelError> {
    let parameters = refit::parameters(rotation, scales)?;
    for (layer, (scale, angles)) in group.layers.iter().zip(parameters) {
        state.trained.insert(tensor_name(layer, SCALE), scale);
        state.trained.insert(tensor_name(layer, ANGLES), angles);
    }
    Ok(())
}
