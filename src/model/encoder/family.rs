//! What tells one encoder's family from another.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use tch::Tensor;

use crate::model::ModelError;
use crate::model::inputs::Inputs;

/// A family of encoders: a file beside this one.
pub trait EncoderFamily: fmt::Debug + Sync {
    /// Its name as `model_type`, and the prefix of the encoder's tensors in a checkpoint with a
    /// head.
    fn name(&self) -> &'static str;

    /// Its name in prose.
    fn title(&self) -> &'static str;

    /// What its classes' names in transformers begin with.
    fn class_stem(&self) -> &'static str;

    /// The class of its tokenizer in transformers.
    fn tokenizer_class(&self) -> &'static str;

    /// Tokens in the vocabulary where `config.json` does not say.
    fn default_vocabulary(&self) -> i64;

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

    /// Positions and token types of a batch, each (rows, tokens) or (1, tokens).
    ///
    /// # Errors
    /// If libtorch fails.
    fn positions_and_types(
        &self,
        inputs: &Inputs,
        padding: i64,
        types: i64,
    ) -> Result<(Tensor, Tensor), ModelError>;
}

/// How a classification head reads the encoder's last hidden states, of which it takes the first
/// token's, h₀.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// `out_proj(tanh(dense(h₀)))`, with dropout before both.
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
