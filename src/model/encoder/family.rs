//! What tells one encoder's family from another.

use serde::{Serialize, Serializer};

use crate::model::activation::Activation;
use crate::model::encoder::embeddings::PositionNumbers;

/// A family of encoders: a file beside this one. Its defaults hold where `config.json` does not say.
#[derive(Debug, PartialEq, Eq)]
pub struct EncoderFamily {
    /// Its name as `model_type`.
    pub name: &'static str,
    /// Its name in prose.
    pub title: &'static str,
    /// What its classes' names in transformers begin with.
    pub class_stem: &'static str,
    /// The class of its tokenizer in transformers.
    pub tokenizer_class: &'static str,
    /// The prefix of the encoder's tensors in a checkpoint with a head.
    pub prefix: &'static str,
    /// Tokens in the vocabulary.
    pub default_vocabulary: i64,
    /// Sizes of the layers.
    pub default_sizes: LayerSizes,
    /// Width of the embeddings; `None`: it is that of the hidden states, whatever `config.json` says.
    pub default_embedding: Option<i64>,
    /// The padding token.
    pub default_padding: i64,
    /// Whether positions are counted from after the padding token's number, so that there must be
    /// such a token, and padding has a row of its own, of zeros. Else they are counted from 0, and
    /// the model learns from the mask what is padding.
    pub positions_after_padding: bool,
    /// Whether a model with one token type reads none.
    pub ignores_single_type: bool,
    /// The classification head.
    pub head: HeadKind,
    /// The activation between the head's two layers.
    pub head_activation: Activation,
}

/// A family, by reference.
pub type Family = &'static EncoderFamily;

impl EncoderFamily {
    /// Rows of the position embedding that no token has.
    #[must_use]
    pub fn unused_positions(&self, padding: i64) -> i64 {
        match self.positions_after_padding {
            true => padding + 1,
            false => 0,
        }
    }

    /// The rows of the position embedding that tokens have.
    #[must_use]
    pub fn position_numbers(&self, padding: i64) -> PositionNumbers {
        match self.positions_after_padding {
            true => PositionNumbers::AfterPadding(padding),
            false => PositionNumbers::FromZero,
        }
    }
}

/// By its name, as `config.json` has it.
impl Serialize for EncoderFamily {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// Sizes of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSizes {
    /// Width of the hidden states.
    pub hidden: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width between the two feed-forward layers.
    pub intermediate: i64,
}

impl LayerSizes {
    /// Those of BERT's base model.
    pub const BASE: Self = Self {
        hidden: 768,
        heads: 12,
        intermediate: 3072,
    };
}

/// How a classification head reads the encoder's last hidden states, of which it takes the first
/// token's, h₀.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// `out_proj(activation(dense(h₀)))`, with dropout before both.
    TwoLayers,
    /// `classifier(tanh(pooler(h₀)))`, with dropout between; the pooler belongs to the base.
    Pooled,
}
