//! `normal`: the weighted mean of every tensor, as FedAvg does (FedIT: Zhang et al., *Towards
//! Building the Federated GPT: Federated Instruction Tuning*, 2023). Its miss is on show.

use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// See the module.
pub struct FedIt;

impl Method for FedIt {
    fn name(&self) -> &'static str {
        "normal"
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        state.take_means(&round.updates, |_| true)?;
        exactness::measure(round, state)
    }
}
