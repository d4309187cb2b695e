//! Two linear layers with an activation between them.

use tch::Tensor;

use crate::base::torch::narrow_sequential::{self, FrozenLayer, NarrowActivation};
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::dropout::Masks;
use crate::model::layers::LayerNorm;
use crate::model::layers::linear::Linear;

/// The feed-forward part of a layer: one operation in bfloat16 on a CPU with AMX, where neither linear layer
/// has an adapter.
pub(crate) struct Mlp {
    pub widen: Linear,
    pub narrow: Linear,
    pub activation: Activation,
}

impl Mlp {
    /// The output, without a residual.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        if let Some((layers, activation)) = self.frozen_for(x) {
            return Ok(narrow_sequential::forward(
                x,
                &layers,
                Some(activation),
                None,
            )?);
        }
        let wide = self.activation.forward(&self.widen.forward(x, masks)?)?;
        self.narrow.forward(&wide, masks)
    }

    /// `norm(dropout(output) + x)`.
    ///
    /// # Errors
    /// As [`Mlp::forward`].
    pub fn forward_normed(
        &self,
        x: &Tensor,
        norm: &LayerNorm,
        dropout: f64,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        if let Some((layers, activation)) = self.frozen_for(x)
            && let Some(y) = norm.behind(x, &layers, Some(activation), None, dropout, masks)?
        {
            return Ok(y);
        }
        norm.of_residual(&self.forward(x, masks)?, x, dropout, masks)
    }

    /// The layers where both are frozen and packed for `x`, with an activation that is computed with them.
    fn frozen_for(&self, x: &Tensor) -> Option<([FrozenLayer<'_>; 2], NarrowActivation)> {
        let layers = [self.widen.frozen_for(x)?, self.narrow.frozen_for(x)?];
        Some((layers, self.activation.in_bfloat16()?))
    }
}
