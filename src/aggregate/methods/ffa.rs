//! `ffa`: clients train only what ΔW is linear in (LoRA's B, VeRA's b, SORF-VeRA's m), so that
//! the mean of the tensors is the mean of the updates.
//!
//! FFA-LoRA: Sun et al., *Improving LoRA in Privacy-preserving Federated Learning*, 2024. What is
//! not trained keeps its first value, on every client the same.

use crate::adapter::{AdapterTensor, Role};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// See the module.
pub struct Ffa;

impl Method for Ffa {
    fn name(&self) -> &'static str {
        "ffa"
    }

    fn trains(&self, tensor: &AdapterTensor, _round: u32) -> bool {
        tensor.role == Role::Linear
    }

    fn sends(&self, tensor: &AdapterTensor) -> bool {
        tensor.role == Role::Linear
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        state.take_means(&round.updates, |_| true)?;
        exactness::measure(round, state)
    }
}
