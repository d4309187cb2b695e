//! `sorf_vera` and `sorf_vera_exact`: what the server makes of `Λ̄ = Σ pᵢ Λ(mᵢ, θᵢ)`.
//!
//! A mean of scaled rotations is in general none, so both refit. `sorf_vera` takes the rank-r SVD
//! of `S Γ(b) B Λ̄ A` and fits b to `U Σ` and (m, θ) to `Vᵀ`, as its authors do: faithful, and it
//! loses most of the update each round. `sorf_vera_exact` keeps b, takes the scaled rotation
//! nearest to Λ̄, and merges the rest into the base.

use std::any::Any;

use tch::{Device, Kind, Tensor};

use crate::adapter::AdapterTensor;
use crate::adapter::factors::Factors;
use crate::adapter::population::{LayerGroup, tensor_name};
use crate::adapter::settings::AdapterKind;
use crate::adapter::sorf::core::Core;
use crate::adapter::sorf::{ANGLES, B_IM, B_RE, SCALE, SorfVera, mean_lambda, refit};
use crate::aggregate::ideal::ExactUpdate;
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::base::tensors::HostTensor;
use crate::base::torch;
use crate::model::ModelError;

/// The row of `sorf_vera`.
pub(crate) static REFIT: MethodInfo = MethodInfo {
    name: "sorf_vera",
    aliases: &[],
    title: "SORF-VeRA",
    paper: "no paper: as in the Python project that Regatta's flags come from",
    help: "its authors' refit, which loses most of the update",
    adapters: &[AdapterKind::SorfVera],
    why_these_adapters: "it refits SORF-VeRA's b, m and θ",
    exact: false,
    linear: false,
    takes_stale: false,
    why_not_stale: "resets b every round, so it cannot use stale updates",
    mixed_ranks: false,
    merges_residual: false,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &Refit,
};

/// `sorf_vera`; see the module.
pub struct Refit;

impl Method for Refit {
    fn sends(&self, _tensor: &AdapterTensor) -> bool {
        true
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        let (sorf, device) = (sorf_vera(round)?, round.updates.device);
        let mut pairs = Vec::new();
        take_means_beside_lambda(round, state)?;
        for group in round.groups {
            let core = Core::of(sorf, group, device)?;
            let ideal = core.factors(group, &round.updates)?;
            let parts = ideal.split(at_once(device, group))?;
            let tasks = parts.map(|part| (part, core.shallow_clone())).collect();
            let fits = torch::threads::in_parallel(tasks, |(ideal, core)| fit(&ideal, &core));
            store(fits, group, state)?;
            let fitted = round.over_state(state, |one| core.factors(group, one))?;
            pairs.push(Ok((ExactUpdate::Thin(ideal), fitted)));
        }
        exactness::compare(round, pairs)
    }
}

/// b, m and θ for layers whose ideal update, without S and Q, is given.
///
/// S is orthogonal, so `S Γ(b) B ≈ U Σ` is the same as `Γ(b) B ≈ Sᵀ U Σ`, and `Sᵀ U` is what the
/// SVD has for U. The rows of Q are orthonormal, so `Λ A ≈ Vᵀ` is the same as `Λ L ≈ Vᵀ Qᵀ`, and
/// `Vᵀ Qᵀ` is what the SVD has for Vᵀ.
fn fit(ideal: &Factors, core: &Core) -> Result<Vec<RefitTensors>, ModelError> {
    let svd = refit::ThinSvd::of(ideal)?;
    let target = svd.u.f_mul(&svd.sigma.f_unsqueeze(1)?)?;
    let (b_re, b_im) = refit::fit_gamma(&core.b, &target)?;
    let polar = refit::nearest_rotation(&refit::solve_right(&svd.vt, &core.l)?)?;
    let scales = polar.sigma.f_abs()?.f_mean_dim(-1, false, Kind::Double)?;
    let mut fits = lambda_fits(&polar.rotation, &scales)?;
    for (suffix, tensor) in [(B_RE, &b_re), (B_IM, &b_im)] {
        for (fit, row) in fits.iter_mut().zip(tensor.f_unbind(0)?) {
            fit.push((suffix, HostTensor::from_tensor(&row)?));
        }
    }
    Ok(fits)
}

/// The row of `sorf_vera_exact`.
pub(crate) static EXACT_REFIT: MethodInfo = MethodInfo {
    name: "sorf_vera_exact",
    aliases: &[],
    title: "Exact SORF-VeRA",
    paper: "no paper: Regatta's own, after SORF-VeRA",
    help: "the refit, with what it misses merged into the base weights",
    adapters: &[AdapterKind::SorfVera],
    why_these_adapters: "it averages SORF-VeRA's m and θ",
    exact: true,
    linear: false,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: true,
    vera_scale: true,
    without_delta: "without that change the adapter's first value, which the base makes up for, and what the \
     fit of m and θ lost disturb the model",
    method: &ExactRefit,
};

/// `sorf_vera_exact`; see the module.
pub struct ExactRefit;

impl Method for ExactRefit {
    fn starts_at_pretrained(&self) -> bool {
        true
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        take_means_beside_lambda(round, state)?;
        for group in round.groups {
            let lambda = mean_lambda(group, &round.updates, sorf_vera(round)?.r)?;
            let tasks = lambda.f_split(at_once(lambda.device(), group), 0)?;
            let fits = torch::threads::in_parallel(tasks, |lambda| exact_fit(&lambda));
            store(fits, group, state)?;
        }
        exactness::merge_residual(round, state)
    }
}

/// m and θ for layers whose Λ̄ is given.
fn exact_fit(lambda: &Tensor) -> Result<Vec<RefitTensors>, ModelError> {
    let polar = refit::nearest_rotation(lambda)?;
    // ‖m G − Λ̄‖ is least at m = ⟨G, Λ̄⟩ / r, the mean of the signed singular values.
    let scales = polar.sigma.f_mean_dim(-1, false, Kind::Double)?;
    lambda_fits(&polar.rotation, &scales)
}

/// What one layer's fit sets, by suffix.
type RefitTensors = Vec<(&'static str, HostTensor)>;

/// m and θ of `m · rotation` for each layer.
fn lambda_fits(rotation: &Tensor, scales: &Tensor) -> Result<Vec<RefitTensors>, ModelError> {
    let parameters = refit::parameters(rotation, scales)?.into_iter();
    let fit = |(scale, angles)| vec![(SCALE, scale), (ANGLES, angles)];
    Ok(parameters.map(fit).collect())
}

/// Layers that one thread fits at once. A CPU's cores take a layer each, for decompositions of
/// some hundred rows gain nothing from several; a GPU takes all in one batch.
fn at_once(device: Device, group: &LayerGroup) -> i64 {
    match device {
        Device::Cpu => 1,
        _ => group.len(),
    }
}

/// Puts the fits of a group's layers into the state.
fn store(
    fits: Vec<Result<Vec<RefitTensors>, ModelError>>,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<(), ModelError> {
    let fits: Vec<_> = fits.into_iter().collect::<Result<_, _>>()?;
    for (layer, fit) in group.layers.iter().zip(fits.into_iter().flatten()) {
        for (suffix, tensor) in fit {
            state.trained.insert(tensor_name(layer, suffix), tensor);
        }
    }
    Ok(())
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
    round.take_means(state, |name| !refitted(name))
}
