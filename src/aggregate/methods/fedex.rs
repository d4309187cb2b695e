//! `ours` and `ours_vera`: means of the factors, and the residual
//! `s (Σ pᵢ ΔWᵢ − ΔW(means))` merged into the base. FedEx-LoRA and FedEx-VeRA; see
//! [`crate::aggregate::exactness`]. One rule for every adapter that gives its factors.

use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::model::ModelError;

/// See the module.
pub struct FedEx {
    /// The name under which it goes.
    pub name: &'static str,
}

impl Method for FedEx {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        state.take_means(&round.updates, |_| true)?;
        exactness::merge_residual(round, state)
    }
}
