//! The change to a frozen linear layer.

use std::rc::Rc;

use tch::Tensor;

use crate::model::ModelError;
use crate::model::dropout::Masks;

/// The change that an adapter makes to one layer's output.
pub trait Delta {
    /// `s ΔW dropout(x)`: (…, d_in) to (…, d_out). Drops out in training only.
    ///
    /// # Errors
    /// If libtorch fails.
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError>;

    /// Called after each backward pass, before the optimiser's step: an adapter that
    /// differentiates a part of itself by hand adds that part's gradient here.
    ///
    /// # Errors
    /// If libtorch fails.
    fn finish_backward(&self) -> Result<(), ModelError> {
        Ok(())
    }
}

/// The changes that the adapters of several clients make to one layer, each to its own client's batch:
/// the one that the masks name where there is one batch.
pub struct JointDelta {
    /// Of each client, by its place among those that are trained together.
    pub of_clients: Vec<Rc<dyn Delta>>,
}

impl JointDelta {
    fn of(&self, masks: &Masks) -> Result<&dyn Delta, ModelError> {
        let delta = masks
            .client()
            .and_then(|client| self.of_clients.get(client));
        delta.map(|delta| &**delta).ok_or_else(|| {
            ModelError::Refused("a batch is of none of the clients that train together".to_owned())
        })
    }
}

impl Delta for JointDelta {
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let Some(masks) = masks else {
            let message = "the adapters of several clients are told apart by their masks alone";
            return Err(ModelError::Refused(message.to_owned()));
        };
        masks.each_batch(x, |batch, own| self.of(own)?.forward(batch, Some(own)))
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.of_clients
            .iter()
            .try_for_each(|delta| delta.finish_backward())
    }
}
