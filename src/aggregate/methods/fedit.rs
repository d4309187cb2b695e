//! `fedit`: the weighted mean of every tensor, as FedAvg does (FedIT: Zhang et al., *Towards
//! Building the Federated GPT: Federated Instruction Tuning*, 2023). Its miss is on show.

use crate::adapter::settings::AdapterKind;
use crate::aggregate::methods::info::{MethodInfo, SHORT_OF_THE_RESIDUAL};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// The row of `fedit`.
pub(crate) static INFO: MethodInfo = MethodInfo {
    name: "fedit",
    aliases: &["normal"],
    title: "FedIT",
    paper: "Zhang et al., Towards Building the Federated GPT: Federated Instruction Tuning, 2023",
    help: "the weighted mean of every tensor",
    adapters: &[AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera],
    why_these_adapters: "",
    exact: false,
    linear: true,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: false,
    merges_residual: false,
    vera_scale: false,
    without_delta: SHORT_OF_THE_RESIDUAL,
    method: &FedIt,
};

/// See the module.
pub struct FedIt;

impl Method for FedIt {
    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        round.take_means(state, |_| true)?;
        exactness::measure(round, state)
    }
}
