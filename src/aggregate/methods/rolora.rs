//! `rolora`: clients train B in odd rounds and A in even ones, each averaged while the other is
//! fixed and the same everywhere, so that every mean is exact.
//!
//! Chen et al., *Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA*, 2025.
//! B goes first: it starts at zero, and A has no gradient until it is not.

use crate::adapter::{AdapterTensor, Role};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// See the module.
pub struct RoLora;

impl Method for RoLora {
    fn name(&self) -> &'static str {
        "rolora"
    }

    fn trains(&self, tensor: &AdapterTensor, round: u32) -> bool {
        let wanted = if round % 2 == 1 {
            Role::Linear
        } else {
            Role::Trained
        };
        tensor.role == wanted
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        state.take_means(&round.updates, |_| true)?;
        exactness::measure(round, state)
    }
}
