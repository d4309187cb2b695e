//! BERT and its kin: embeddings, and layers that are normalised after each residual sum.

use tch::{Kind, Tensor};

use crate::base::torch::narrow;
use crate::model::ModelError;
use crate::model::dropout::{Masks, dropout};
use crate::model::encoder::EncoderBody;
use crate::model::encoder::embeddings::EmbeddingSum;
use crate::model::encoder::layer::PostNormLayer;
use crate::model::encoder::pass::LayerPass;
use crate::model::inputs::Inputs;
use crate::model::layers::LayerNorm;
use crate::model::layers::linear::Linear;

/// Embeddings and layers.
pub(crate) struct PostNormBody {
    pub embeddings: EmbeddingSum,
    pub norm: LayerNorm,
    pub dropout: f64,
    /// From the width of the embeddings to that of the layers, where they differ.
    pub project: Option<Linear>,
    pub layers: Vec<PostNormLayer>,
}

impl EncoderBody for PostNormBody {
    /// See [`Inputs::attention_bias`].
    type Shared = Option<Tensor>;

    fn embed(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let normed = self.norm.forward(&self.embeddings.forward(inputs)?)?;
        let x = dropout(&normed, self.dropout, masks)?;
        match &self.project {
            Some(project) => project.forward(&x, masks),
            // Once, and not in each layer that reads it.
            None if narrow::is_on(x.device()) => Ok(x.f_to_kind(Kind::BFloat16)?),
            None => Ok(x),
        }
    }

    fn shared(&self, inputs: &Inputs, x: &Tensor) -> Result<Self::Shared, ModelError> {
        inputs.attention_bias(x.kind())
    }

    fn num_layers(&self) -> usize {
        self.layers.len()
    }

    fn layer(
        &self,
        number: usize,
        x: &Tensor,
        pass: &LayerPass<'_, Self::Shared>,
    ) -> Result<Tensor, ModelError> {
        self.layers[number].forward(x, pass)
    }
}
