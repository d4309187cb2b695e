//! Two linear layers with an activation between them.

use tch::Tensor;

use crate::base::torch::narrow_mlp;
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::dropout::Masks;
use crate::model::layers::linear::Linear;

/// The feed-forward part of a layer without its residual: one operation in bfloat16 on a CPU with AMX,
/// where neither layer has an adapter.
pub(crate) struct Mlp {
    pub widen: Linear,
    pub narrow: Linear,
    pub activation: Activation,
}

impl Mlp {
    /// The output, and `x` for what reads it besides.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(
        &self,
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let packed = (self.widen.frozen_for(x), self.narrow.frozen_for(x));
        if let (Some(widen), Some(narrow)) = packed
            && let Some(activation) = self.activation.in_bfloat16()
        {
            return Ok(narrow_mlp::forward(x, widen, activation, narrow)?);
        }
        let wide = self.activation.forward(&self.widen.forward(x, masks)?)?;
        Ok((self.narrow.forward(&wide, masks)?, x.shallow_clone()))
    }
}
