//! What tells one encoder's family from another.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

use crate::model::activation::Activation;
use crate::model::encoder::embeddings::PositionNumbers;

/// A family of encoders: a file beside this one.
pub trait EncoderFamily: fmt::Debug + Sync {
    /// Its name as `model_type`.
    fn name(&self) -> &'static str;

    /// The prefix of the encoder's tensors in a checkpoint with a head.
    fn prefix(&self) -> &'static str {
        self.name()
    }

    /// Its name in prose.
    fn title(&self) -> &'static str;

    /// What its classes' names in transformers begin with.
    fn class_stem(&self) -> &'static str;

    /// The class of its tokenizer in transformers.
    fn tokenizer_class(&self) -> &'static str;

    /// Tokens in the vocabulary where `config.json` does not say.
    fn default_vocabulary(&self) -> i64;

    /// Sizes of the layers where `config.json` does not say.
    fn default_sizes(&self) -> LayerSizes {
        LayerSizes {
            hidden: 768,
            heads: 12,
            intermediate: 3072,
        }
    }

    /// Width of the embeddings where `config.json` does not say; `None`: it is that of the hidden
    /// states, whatever it says.
    fn default_embedding(&self) -> Option<i64> {
        None
    }

    /// The padding token where `config.json` does not say.
    fn default_padding(&self) -> i64;

    /// Whether `config.json` may name no padding token.
    fn padding_is_optional(&self) -> bool;

    /// Rows of the position embedding that no token has.
    fn unused_positions(&self, padding: i64) -> i64;

    /// Whether the padding token's row of the position embedding is zero.
    fn pads_positions(&self) -> bool;

    /// Whether a model with one token type reads none.
    fn ignores_single_type(&self) -> bool;

    /// The classification head.
    fn head(&self) -> HeadKind;

    /// The activation between the head's two layers.
    fn head_activation(&self) -> Activation {
        Activation::Tanh
    }

    /// The rows of the position embedding that tokens have.
    fn position_numbers(&self, padding: i64) -> PositionNumbers;
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

/// How a classification head reads the encoder's last hidden states, of which it takes the first
/// token's, h₀.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// `out_proj(activation(dense(h₀)))`, with dropout before both.
    TwoLayers,
    /// `classifier(tanh(pooler(h₀)))`, with dropout between; the pooler belongs to the base.
    Pooled,
}

/// A family, by reference. Two are equal if they have one name.
#[derive(Clone, Copy)]
pub struct Family(pub &'static dyn EncoderFamily);

impl Deref for Family {
    type Target = dyn EncoderFamily;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Family {}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
