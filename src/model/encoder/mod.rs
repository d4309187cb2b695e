//! Transformers that read a text in both directions.
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | the sizes of a BERT or one of its kin, and the tensors and layers that follow from them |
//! | [`family`] | what tells one of these from another; [`roberta`], [`xlm_roberta`], [`bert`] and [`electra`] are such |
//! | [`distilbert`] | DistilBERT, which has other names and keys |
//! | [`modernbert`] | ModernBERT: rotary positions, sliding windows, gated feed-forward |
//! | [`deberta`] | DeBERTa and its successors: attention by content and by relative position |
//! | `post_norm`, `layer`, `layer_spec`, `attention`, `embeddings` | what all of them but ModernBERT share |
//! | `pass` | what the layers of a forward pass get beside their input |
//! | [`head`] | what a classification head is like |

pub(crate) mod attention;
pub mod bert;
pub mod config;
pub mod deberta;
pub mod distilbert;
pub mod electra;
pub mod embeddings;
pub mod family;
pub mod head;
pub(crate) mod layer;
pub(crate) mod layer_spec;
pub mod modernbert;
pub(crate) mod pass;
pub(crate) mod post_norm;
pub mod roberta;
pub mod xlm_roberta;

use tch::Tensor;

use crate::model::ModelError;
use crate::model::dropout::{Masks, shapes};
use crate::model::encoder::pass::LayerPass;
use crate::model::inputs::Inputs;
use crate::model::joint;
use crate::model::recompute::Recompute;

/// What a family computes below its head.
pub(crate) trait EncoderBody {
    /// What the layers of one pass share, such as what padding adds to attention's scores. It is
    /// not differentiated: layers are recomputed from it.
    type Shared;

    /// What goes into the first layer, (rows, tokens, hidden).
    fn embed(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError>;

    /// What the layers share, for the first layer's input `x`.
    fn shared(&self, inputs: &Inputs, x: &Tensor) -> Result<Self::Shared, ModelError>;

    /// The number of layers.
    fn num_layers(&self) -> usize;

    /// The hidden states after a layer, by its number, at the tokens that are wanted of its input
    /// `x`.
    fn layer(
        &self,
        number: usize,
        x: &Tensor,
        pass: &LayerPass<'_, Self::Shared>,
    ) -> Result<Tensor, ModelError>;

    /// What follows the last layer.
    fn finish(&self, x: Tensor) -> Result<Tensor, ModelError> {
        Ok(x)
    }
}

/// An encoder of whatever family.
pub(crate) trait Encode {
    /// The last hidden states, (rows, tokens, hidden). With `wanted`, those of the first tokens
    /// alone: the last layer then computes keys and values for every token, and all else for these.
    fn forward(
        &self,
        inputs: &Inputs,
        wanted: Option<i64>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError>;

    /// The same of several batches that are computed in one pass, with the masks of all.
    fn forward_joint(
        &self,
        batches: &[Inputs],
        wanted: Option<i64>,
        masks: &Masks,
    ) -> Result<Vec<Tensor>, ModelError>;

    /// Keeps only the layers' inputs in training, and computes the layers once more in the backward
    /// pass.
    fn checkpoint_blocks(&mut self);

    /// See [`Model::finish_backward`](crate::model::architecture::Model::finish_backward).
    fn finish_backward(&self) -> Result<(), ModelError>;
}

/// Embeddings and all layers.
pub(crate) struct Encoder<B: EncoderBody> {
    body: B,
    recompute: Recompute<PassShared<B::Shared>>,
}

/// What all layers of a pass get beside their input.
struct PassShared<S> {
    /// What they share, of each batch.
    shared: Vec<S>,
    /// The tokens that are wanted of the last layer, from a row's first; `None`: all.
    wanted: Option<i64>,
}

impl<B: EncoderBody> Encoder<B> {
    pub fn new(body: B) -> Self {
        Self {
            body,
            recompute: Recompute::default(),
        }
    }

    fn layer(
        &self,
        number: usize,
        x: &Tensor,
        all: &PassShared<B::Shared>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let is_last = number + 1 == self.body.num_layers();
        let pass = LayerPass {
            shared: &all.shared,
            wanted: all.wanted.filter(|_| is_last),
            masks,
        };
        self.body.layer(number, x, &pass)
    }

    /// All layers, and what follows them.
    fn layers(
        &self,
        mut x: Tensor,
        all: PassShared<B::Shared>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let layers = self.body.num_layers();
        if let Some(masks) = masks.filter(|_| self.recompute.is_wanted()) {
            let block = |number, x: &Tensor, all: &_, masks: &Masks| {
                self.layer(number, x, all, Some(masks))
            };
            let x = self.recompute.forward(x, all, masks, layers, block)?;
            return self.body.finish(x);
        }
        for number in 0..layers {
            x = self.layer(number, &x, &all, masks)?;
        }
        self.body.finish(x)
    }
}

impl<B: EncoderBody> Encode for Encoder<B> {
    fn forward(
        &self,
        inputs: &Inputs,
        wanted: Option<i64>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let x = self.body.embed(inputs, masks)?;
        let shared = vec![self.body.shared(inputs, &x)?];
        self.layers(x, PassShared { shared, wanted }, masks)
    }

    fn forward_joint(
        &self,
        batches: &[Inputs],
        wanted: Option<i64>,
        masks: &Masks,
    ) -> Result<Vec<Tensor>, ModelError> {
        let members = masks.members().unwrap_or_default();
        let (mut embedded, mut shared) = (Vec::new(), Vec::new());
        for (inputs, member) in batches.iter().zip(members) {
            let x = self.body.embed(inputs, Some(&member.masks))?;
            shared.push(self.body.shared(inputs, &x)?);
            embedded.push(x);
        }
        let x = joint::join(&embedded)?;
        let x = self.layers(x, PassShared { shared, wanted }, Some(masks))?;
        Ok(joint::split(&x, &shapes(members))?)
    }

    fn checkpoint_blocks(&mut self) {
        self.recompute.want();
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.recompute
            .backward(|number, x, shared, masks| self.layer(number, x, shared, Some(masks)))
    }
}
