//! A layer that is normalised after each residual sum, as BERT's is.

use tch::Tensor;

use crate::model::ModelError;
use crate::model::dropout::Masks;
use crate::model::encoder::attention::Attention;
use crate::model::encoder::layer_spec::LayerSpec;
use crate::model::encoder::pass::LayerPass;
use crate::model::layers::LayerNorm;
use crate::model::layers::mlp::Mlp;
use crate::model::weights::View;

/// The two feed-forward layers with residual and norm.
pub(crate) struct FeedForward {
    layers: Mlp,
    norm: LayerNorm,
    dropout: f64,
}

impl FeedForward {
    pub fn new(view: &View<'_>, spec: &LayerSpec) -> Result<Self, ModelError> {
        let (h, wide, names) = (spec.width, spec.wide, spec.modules);
        Ok(Self {
            layers: Mlp {
                widen: spec.linear(view, names.widen, [h, wide])?,
                narrow: spec.linear(view, names.narrow, [wide, h])?,
                activation: spec.activation,
            },
            norm: spec.norm(view, names.output_norm)?,
            dropout: spec.output_dropout,
        })
    }

    pub fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.layers
            .forward_normed(x, &self.norm, self.dropout, masks)
    }
}

/// Attention and feed-forward.
pub(crate) struct PostNormLayer {
    attention: Attention,
    feed_forward: FeedForward,
}

impl PostNormLayer {
    pub fn new(view: &View<'_>, spec: &LayerSpec) -> Result<Self, ModelError> {
        Ok(Self {
            attention: Attention::new(view, spec)?,
            feed_forward: FeedForward::new(view, spec)?,
        })
    }

    /// The output at the tokens that are wanted.
    pub fn forward(
        &self,
        x: &Tensor,
        pass: &LayerPass<'_, Option<Tensor>>,
    ) -> Result<Tensor, ModelError> {
        let attended = self.attention.forward(x, pass)?;
        self.feed_forward.forward(&attended, pass.masks)
    }
}
