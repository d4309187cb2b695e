//! `fedsvd`: clients train B with A fixed; the server refactors `B̄ A = U Σ Vᵀ` into orthonormal
//! `A = Vᵀ` and `B = U Σ`, so that the product is unchanged and A follows what was learned.
//!
//! Lee et al., *FedSVD: Adaptive Orthogonalization for Private Federated Learning with LoRA*, 2025.

use tch::Tensor;

use crate::adapter::population::{LayerGroup, tensor_name};
use crate::adapter::settings::AdapterKind;
use crate::adapter::sorf::refit::ThinSvd;
use crate::adapter::{AdapterTensor, Role, lora};
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::base::tensors::HostTensor;
use crate::model::ModelError;

/// The row of `fedsvd`.
pub(crate) static INFO: MethodInfo = MethodInfo {
    name: "fedsvd",
    aliases: &[],
    title: "FedSVD",
    paper: "Lee et al., FedSVD: Adaptive Orthogonalization for Private Federated Learning with LoRA, 2025",
    help: "clients train B alone; the server refactors the product by SVD",
    adapters: &[AdapterKind::Lora],
    why_these_adapters: "it refactors products B A by SVD",
    exact: true,
    linear: true,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: false,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &FedSvd,
};

/// See the module.
pub struct FedSvd;

impl Method for FedSvd {
    fn trains(&self, tensor: &AdapterTensor, _round: u32) -> bool {
        tensor.role == Role::Linear
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        round.take_means(state, |_| true)?;
        for group in round.groups {
            refactor(round, group, state)?;
        }
        exactness::measure(round, state)
    }
}

fn refactor(
    round: &Round<'_>,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<(), ModelError> {
    let scaled = round.update_of(state, group)?;
    // The factors carry the scaling s; A takes none of it, so B is found from A: B = (B̄ A) Aᵀ.
    let svd = ThinSvd::of(&scaled)?;
    let stacked = |suffix| round.over_state(state, |own| own.stack_state(group, suffix));
    let (a, b) = (stacked(lora::A)?, stacked(lora::B)?);
    let b = b.f_matmul(&a.f_matmul(&svd.vt.f_transpose(1, 2)?)?)?;
    store(&svd.vt, lora::A, group, state)?;
    store(&b, lora::B, group, state)
}

fn store(
    stacked: &Tensor,
    suffix: &str,
    group: &LayerGroup,
    state: &mut GlobalState,
) -> Result<(), ModelError> {
    for (layer, tensor) in group.layers.iter().zip(stacked.f_unbind(0)?) {
        state.trained.insert(
            tensor_name(layer, suffix),
            HostTensor::from_tensor(&tensor)?,
        );
    }
    Ok(())
}
