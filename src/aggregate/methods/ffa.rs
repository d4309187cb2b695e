//! `ffa`: clients train only what ΔW is linear in (LoRA's B, VeRA's b, SORF-VeRA's m), so that
//! the mean of the tensors is the mean of the updates.
//!
//! FFA-LoRA: Sun et al., *Improving LoRA in Privacy-preserving Federated Learning*, 2024. What is
//! not trained keeps its first value, on every client the same.

use crate::adapter::settings::AdapterKind;
use crate::adapter::{AdapterTensor, Role};
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// The row of `ffa`.
pub(crate) static INFO: MethodInfo = MethodInfo {
    name: "ffa",
    aliases: &[],
    title: "FFA",
    paper: "Sun et al., Improving LoRA in Privacy-preserving Federated Learning, 2024",
    help: "one factor frozen, the other averaged",
    adapters: &[AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera],
    why_these_adapters: "",
    exact: true,
    linear: true,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: false,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &Ffa,
};

/// See the module.
pub struct Ffa;

impl Method for Ffa {
    fn trains(&self, tensor: &AdapterTensor, _round: u32) -> bool {
        tensor.role == Role::Linear
    }

    fn sends(&self, tensor: &AdapterTensor) -> bool {
        tensor.role == Role::Linear
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        round.take_means(state, |_| true)?;
        exactness::measure(round, state)
    }
}
