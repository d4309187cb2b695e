//! `rolora`: clients train B in odd rounds and A in even ones, each averaged while the other is
//! fixed and the same everywhere, so that every mean is exact.
//!
//! Chen et al., *Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA*, 2025.
//! B goes first: it starts at zero, and A has no gradient until it is not.

use crate::adapter::settings::AdapterKind;
use crate::adapter::{AdapterTensor, Role};
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// The row of `rolora`.
pub(crate) static INFO: MethodInfo = MethodInfo {
    name: "rolora",
    aliases: &[],
    title: "RoLoRA",
    paper: "Chen et al., Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA, 2025",
    help: "A and B trained and averaged in alternate rounds",
    adapters: &[AdapterKind::Lora],
    why_these_adapters: "it alternates between A and B",
    exact: true,
    linear: true,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: false,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &RoLora,
};

/// See the module.
pub struct RoLora;

impl Method for RoLora {
    fn trains(&self, tensor: &AdapterTensor, round: u32) -> bool {
        let wanted = if round % 2 == 1 {
            Role::Linear
        } else {
            Role::Trained
        };
        tensor.role == wanted
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        round.take_means(state, |_| true)?;
        exactness::measure(round, state)
    }
}
