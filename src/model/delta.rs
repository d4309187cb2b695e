//! The change to a frozen linear layer.

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
