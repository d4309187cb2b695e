//! The transformer encoder that RoBERTa and BERT share.
//!
//! Layers are normalised after each residual sum, as both do.
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | the sizes, and the tensors and layers that follow from them |
//! | [`family`] | what tells one family from another; [`roberta`] and [`bert`] are such |
//! | `attention` | self-attention with its projections |

pub(crate) mod attention;
pub mod bert;
pub mod config;
pub mod family;
pub mod roberta;

use tch::Tensor;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::dropout::{Masks, dropout};
use crate::model::encoder::attention::Attention;
use crate::model::encoder::config::EncoderConfig;
use crate::model::encoder::family::Family;
use crate::model::inputs::Inputs;
use crate::model::layers::{Embedding, LayerNorm, Linear, LinearSpec};
use crate::model::recompute::Recompute;
use crate::model::weights::View;

/// Word, position and token type embeddings, summed and normalised.
struct Embeddings {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    family: Family,
    pad: i64,
    dropout: f64,
}

impl Embeddings {
    fn new(view: &View<'_>, config: &EncoderConfig) -> Result<Self, ModelError> {
        let h = config.hidden_size;
        let table = |name, rows| Embedding::new(&view.pp(name), rows, h);
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(&view.pp("LayerNorm"), h, config.layer_norm_eps)?,
            family: config.family,
            pad: config.pad(),
            dropout: config.hidden_dropout_prob,
        })
    }

    fn forward(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let ids = &inputs.ids;
        let (positions, types) =
            self.family
                .positions_and_types(inputs, self.pad, self.types.rows())?;
        let sum = self
            .words
            .forward(ids)?
            .f_add(&self.types.forward(&types)?)?;
        let sum = sum.f_add(&self.positions.forward(&positions)?)?;
        Ok(dropout(&self.norm.forward(&sum)?, self.dropout, masks)?)
    }
}

/// The two feed-forward layers with residual and norm.
struct FeedForward {
    widen: Linear,
    narrow: Linear,
    norm: LayerNorm,
    activation: Activation,
    dropout: f64,
}

impl FeedForward {
    fn new(view: &View<'_>, config: &EncoderConfig) -> Result<Self, ModelError> {
        let (h, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |view: &View<'_>, d_in, d_out| {
            Linear::new(view, &LinearSpec::new(d_in, d_out, config.has_no_dropout()))
        };
        let out = view.pp("output");
        Ok(Self {
            widen: linear(&view.pp("intermediate").pp("dense"), h, wide)?,
            narrow: linear(&out.pp("dense"), wide, h)?,
            norm: LayerNorm::new(&out.pp("LayerNorm"), h, config.layer_norm_eps)?,
            activation: config.hidden_act,
            dropout: config.hidden_dropout_prob,
        })
    }

    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let wide = self.widen.forward(x, masks)?;
        let wide = self.activation.forward(&wide)?;
        let y = dropout(&self.narrow.forward(&wide, masks)?, self.dropout, masks)?;
        self.norm.forward(&y.f_add(x)?)
    }
}

/// Embeddings and all layers.
pub struct Encoder {
    embeddings: Embeddings,
    layers: Vec<(Attention, FeedForward)>,
    recompute: Recompute<Shared>,
}

/// What the layers of one pass share.
struct Shared {
    /// See [`Inputs::attention_bias`].
    bias: Option<Tensor>,
    /// Of the last layer only the first N tokens; `None`: all.
    wanted: Option<i64>,
}

impl Encoder {
    /// The encoder whose tensors are at `view`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, config: &EncoderConfig) -> Result<Self, ModelError> {
        let layer = |i| {
            let view = view.pp("encoder").pp("layer").pp(i);
            let attention = Attention::new(&view.pp("attention"), config)?;
            Ok((attention, FeedForward::new(&view, config)?))
        };
        Ok(Self {
            embeddings: Embeddings::new(&view.pp("embeddings"), config)?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, ModelError>>()?,
            recompute: Recompute::default(),
        })
    }

    /// The last hidden states, (rows, tokens, hidden).
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.run(inputs, None, masks)
    }

    /// The last hidden state of each row's first token, (rows, 1, hidden). The last layer then
    /// computes keys and values for every token, and all else for that one.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn first_token(
        &self,
        inputs: &Inputs,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        self.run(inputs, Some(1), masks)
    }

    /// Of the last layer only the first `wanted` tokens; `None`: all.
    fn run(
        &self,
        inputs: &Inputs,
        wanted: Option<i64>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let mut x = self.embeddings.forward(inputs, masks)?;
        let bias = inputs.attention_bias(x.kind())?;
        let shared = Shared { bias, wanted };
        let layers = self.layers.len();
        if let Some(masks) = masks.filter(|_| self.recompute.is_wanted()) {
            return self
                .recompute
                .forward(x, shared, masks, layers, self.block());
        }
        for layer in 0..layers {
            x = self.layer(layer, &x, &shared, masks)?;
        }
        Ok(x)
    }

    fn layer(
        &self,
        number: usize,
        x: &Tensor,
        shared: &Shared,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let (attention, feed_forward) = &self.layers[number];
        let queried = match shared.wanted {
            Some(tokens) if number + 1 == self.layers.len() => x.f_narrow(1, 0, tokens)?,
            _ => x.shallow_clone(),
        };
        let attended = attention.forward(x, &queried, shared.bias.as_ref(), masks)?;
        feed_forward.forward(&attended, masks)
    }

    /// One layer of those that are recomputed.
    fn block(&self) -> impl Fn(usize, &Tensor, &Shared, &Masks) -> Result<Tensor, ModelError> {
        |number, x, shared, masks| self.layer(number, x, shared, Some(masks))
    }

    /// Keeps only the layers' inputs in training, and computes the layers once more in the backward
    /// pass.
    pub(crate) fn checkpoint_blocks(&mut self) {
        self.recompute.want();
    }

    /// See [`Model::finish_backward`](crate::model::architecture::Model::finish_backward).
    pub(crate) fn finish_backward(&self) -> Result<(), ModelError> {
        self.recompute.backward(self.block())
    }
}
