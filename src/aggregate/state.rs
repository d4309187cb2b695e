//! The global state, its digest, and means of updates.

use regatta_actors::ids::Digest;

use crate::adapter::population::WeightedUpdates;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;

/// What the server holds: everything that differs from the pretrained model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalState {
    /// The adapter's tensors, the head, and whatever else clients train, by full name.
    pub trained: TensorMap,
    /// What aggregation added to frozen weights, by the weights' names.
    pub base_delta: TensorMap,
}

impl GlobalState {
    /// BLAKE3 over name, shape and float32 bytes of every tensor, in name order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        self.trained.hash_into(&mut hasher);
        self.base_delta.hash_into(&mut hasher);
        Digest(hasher.finalize().to_hex().to_string())
    }

    /// Replaces every tensor that the updates carry, and that `wanted` names, by its weighted
    /// mean, summed in float64 in the order of the updates.
    ///
    /// # Errors
    /// [`ModelError::Missing`] when one update lacks what another has.
    pub fn take_means(
        &mut self,
        updates: &WeightedUpdates<'_>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), ModelError> {
        let Some(first) = updates.updates.first() else {
            return Ok(());
        };
        for (name, _) in first.iter().filter(|(name, _)| wanted(name)) {
            self.trained.insert(name, mean(updates, name)?);
        }
        Ok(())
    }
}

fn mean(updates: &WeightedUpdates<'_>, name: &str) -> Result<HostTensor, ModelError> {
    let missing = || ModelError::Missing {
        name: name.to_owned(),
    };
    let mut sum: Vec<f64> = Vec::new();
    let mut shape = Vec::new();
    for (update, weight) in updates.updates.iter().zip(updates.weights) {
        let tensor = update.get(name).ok_or_else(missing)?;
        sum.resize(tensor.values().len(), 0.0);
        shape = tensor.shape().to_vec();
        let pairs = sum.iter_mut().zip(tensor.values());
        pairs.for_each(|(sum, value)| *sum += weight * f64::from(*value));
    }
    let values = sum.into_iter().map(|x| x as f32).collect();
    Ok(HostTensor::new(shape, values)?)
}
