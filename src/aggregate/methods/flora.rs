//! `flora`: the whole ideal update `s Σ pᵢ Bᵢ Aᵢ` is merged into the base each round, and the
//! adapter is drawn again. Stacking the factors takes clients of different ranks.
//!
//! Wang et al., *FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank
//! Adaptations*, 2024.

use crate::adapter::settings::AdapterKind;
use crate::adapter::{AdapterTensor, initial_state, lora};
use crate::aggregate::methods::info::MethodInfo;
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Method, Report, Round, exactness};
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;
use crate::model::linear_layer::LinearLayer;

/// The row of `flora`.
pub(crate) static INFO: MethodInfo = MethodInfo {
    name: "flora",
    aliases: &[],
    title: "FLoRA",
    paper: "Wang et al., FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank Adaptations, 2024",
    help: "the stacked updates are merged into the base weights each round",
    adapters: &[AdapterKind::Lora],
    why_these_adapters: "it stacks products B A",
    exact: true,
    linear: false,
    takes_stale: true,
    why_not_stale: "",
    mixed_ranks: true,
    merges_residual: true,
    vera_scale: false,
    without_delta: "with FLoRA that change is all of the training except the head: each round's update is \
     merged into the base, and the adapter is drawn again",
    method: &Flora,
};

/// See the module.
pub struct Flora;

impl Method for Flora {
    /// The new adapter follows from the seed and the round; only the stacked factors travel.
    fn sends(&self, _tensor: &AdapterTensor) -> bool {
        false
    }

    fn aggregate(&self, round: &Round<'_>, state: &mut GlobalState) -> Result<Report, ModelError> {
        let layers = round.groups.iter().flat_map(|group| &group.layers);
        let layers: Vec<LinearLayer> = layers.cloned().collect();
        let fresh = initial_state(round.adapter, &layers, round.seed, round.round);
        round.take_means(state, |name| fresh.get(name).is_none())?;
        state.trained.0.extend(fresh.0);
        exactness::merge_residual(round, state)
    }
}

/// An update of a lower rank as one of the server's rank: A and B padded with zeros, which leaves
/// their product alone, and B times `ratio`, the client's scaling over the server's.
#[must_use]
pub fn widen(update: TensorMap, like: &TensorMap, ratio: f32) -> TensorMap {
    let widen = |(name, tensor): (String, HostTensor)| {
        let wide = like.get(&name).map_or(tensor.shape(), HostTensor::shape);
        let mut padded = pad(&tensor, wide);
        if name.ends_with(lora::B) {
            padded
                .values_mut()
                .iter_mut()
                .for_each(|value| *value *= ratio);
        }
        (name, padded)
    };
    update.0.into_iter().map(widen).collect()
}

/// A matrix in the leading corner of a larger one of zeros; other tensors as they are.
fn pad(tensor: &HostTensor, shape: &[i64]) -> HostTensor {
    let (&[_, columns], &[_, wide]) = (tensor.shape(), shape) else {
        return tensor.clone();
    };
    let mut padded = HostTensor::full(shape, 0.0);
    let rows = tensor.values().chunks(columns.max(1) as usize);
    for (row, into) in rows.zip(padded.values_mut().chunks_mut(wide.max(1) as usize)) {
        into[..row.len()].copy_from_slice(row);
    }
    padded
}
