//! `fedex` and `fedex_vera`: means of the factors, and the residual
//! `s (Σ pᵢ ΔWᵢ − ΔW(means))` merged into the base. FedEx-LoRA and FedEx-VeRA; see
//! [`crate::aggregate::exactness`]. One rule for every adapter that gives its factors.

use crate::adapter::settings::AdapterKind;
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// The row of `fedex`.
pub(crate) static LORA: MethodInfo = MethodInfo {
    name: "fedex",
    aliases: &["ours"],
    title: "FedEx-LoRA",
    paper: "Singhal et al., FedEx-LoRA: Exact Aggregation for Federated and Efficient Fine-Tuning of \
     Large Language Models, 2025",
    help: "means, and the residual merged into the base weights",
    adapters: &[AdapterKind::Lora],
    why_these_adapters: "its residual is one of products B A",
    exact: true,
    linear: false,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: true,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &FedEx,
};

/// The row of `fedex_vera`.
pub(crate) static VERA: MethodInfo = MethodInfo {
    name: "fedex_vera",
    aliases: &["ours_vera"],
    title: "FedEx-VeRA",
    paper: "no paper: FedEx-LoRA for VeRA, as in the Python project that Regatta's flags come from",
    help: "means, and the residual merged into the base weights",
    adapters: &[AdapterKind::Vera],
    why_these_adapters: "its residual is one of VeRA's b and d",
    exact: true,
    linear: false,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: true,
    vera_scale: true,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &FedEx,
};

/// See the module.
pub struct FedEx;

impl Method for FedEx {
    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        round.take_means(state, |_| true)?;
        exactness::merge_residual(round, state)
    }
}
