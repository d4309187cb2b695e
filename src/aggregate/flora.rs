//! `flora`: the whole ideal update `s Σ pᵢ Bᵢ Aᵢ` is folded into the base each round, and the
//! adapter starts anew. Stacking the factors takes clients of different ranks.
//!
//! Wang et al., *FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank
//! Adaptations*, 2024.

use super::{Aggregator, GlobalState, Report, Round, exactness};
use crate::adapter::{AdapterTensor, initial_state};
use crate::model::{LinearLayer, ModelError};

/// See the module.
pub struct Flora;

impl Aggregator for Flora {
    fn name(&self) -> &'static str {
        "flora"
    }

    /// The new adapter follows from the seed and the round; only the stacked factors travel.
    fn sends(&self, _tensor: &AdapterTensor) -> bool {
        false
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        let layers = round.groups.iter().flat_map(|group| &group.layers);
        let layers: Vec<LinearLayer> = layers.cloned().collect();
        let fresh = initial_state(round.adapter, &layers, round.seed, round.round);
        state.take_means(&round.updates, |name| fresh.get(name).is_none())?;
        state.trained.0.extend(fresh.0);
        exactness::fold_residual(round, state)
    }
}
