//! The transformer encoder that RoBERTa and BERT share.
//!
//! Liu et al., *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, 2019; Devlin et al.,
//! *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, 2019.
//! Layers are normalised after each residual sum, as both do.

use tch::{Kind, Tensor};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::config::{Family, ModelConfig};
use crate::model::dropout::{Masks, dropout};
use crate::model::inputs::Inputs;
use crate::model::layers::attention::Attention;
use crate::model::layers::{Embedding, LayerNorm, Linear};
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
    fn new(view: &View<'_>, config: &ModelConfig) -> Result<Self, ModelError> {
        let h = config.hidden_size;
        let table = |name, rows| Embedding::new(&view.pp(name), rows, h);
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(&view.pp("LayerNorm"), h, config.layer_norm_eps)?,
            family: config.family,
            pad: config.padding(),
            dropout: config.hidden_dropout_prob,
        })
    }

    fn forward(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let ids = &inputs.ids;
        let (positions, types) = match self.family {
            // RoBERTa counts positions from after the padding index, and most know one token type:
            // what a tokenizer says of types does not matter to them.
            Family::Roberta => {
                let real = ids.f_ne(self.pad)?.f_to_kind(Kind::Int64)?;
                let counted = real.f_cumsum(1, Kind::Int64)?.f_mul(&real)?;
                let types = match self.types.rows() {
                    1 => ids.f_zeros_like()?,
                    _ => inputs.types.shallow_clone(),
                };
                (counted.f_add_scalar(self.pad)?, types)
            }
            Family::Bert => {
                let positions = Tensor::f_arange(ids.size()[1], (Kind::Int64, ids.device()))?;
                (positions.f_unsqueeze(0)?, inputs.types.shallow_clone())
            }
        };
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
    fn new(view: &View<'_>, config: &ModelConfig) -> Result<Self, ModelError> {
        let (h, wide) = (config.hidden_size, config.intermediate_size);
        let out = view.pp("output");
        Ok(Self {
            widen: Linear::new(&view.pp("intermediate").pp("dense"), h, wide, config)?,
            narrow: Linear::new(&out.pp("dense"), wide, h, config)?,
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
}

impl Encoder {
    /// The encoder whose tensors are at `view`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, config: &ModelConfig) -> Result<Self, ModelError> {
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
        for (i, (attention, feed_forward)) in self.layers.iter().enumerate() {
            let query = match wanted {
                Some(tokens) if i + 1 == self.layers.len() => x.f_narrow(1, 0, tokens)?,
                _ => x.shallow_clone(),
            };
            x = attention.forward(&x, &query, bias.as_ref(), masks)?;
            x = feed_forward.forward(&x, masks)?;
        }
        Ok(x)
    }
}
