//! What tells one family of rotary decoders from another.

use crate::model::layers::NormScale;

/// A family of rotary decoders: a file beside this folder.
#[derive(Debug, PartialEq, Eq)]
pub struct RotaryFamily {
    /// Its name as `model_type`.
    pub name: &'static str,
    /// Its name in prose.
    pub title: &'static str,
    /// What its classes' names in transformers begin with.
    pub class_stem: &'static str,
    /// The class of its tokenizer in transformers.
    pub tokenizer_class: &'static str,
    /// The norms of a layer.
    pub norms: LayerNorms,
    /// What all of its norms multiply by.
    pub norm_scale: NormScale,
    /// Whether queries and keys are normed, each head on its own, before they are rotated.
    pub query_key_norms: bool,
    /// Whether the layers of queries, keys and values have biases, whatever `attention_bias` is.
    pub query_key_value_biases: bool,
    /// Whether token embeddings are multiplied by √width.
    pub scaled_embeddings: bool,
}

/// The norms of a layer, by the names that they have there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNorms {
    /// Of what attention takes.
    pub attention: &'static str,
    /// Of what attention gives, before it is added.
    pub after_attention: Option<&'static str>,
    /// Of what the feed-forward takes.
    pub feed_forward: &'static str,
    /// Of what the feed-forward gives, before it is added.
    pub after_feed_forward: Option<&'static str>,
}

impl LayerNorms {
    /// Two, before attention and before the feed-forward.
    pub const BEFORE: Self = Self {
        attention: "input_layernorm",
        after_attention: None,
        feed_forward: "post_attention_layernorm",
        after_feed_forward: None,
    };

    /// The names of those that there are.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            Some(self.attention),
            self.after_attention,
            Some(self.feed_forward),
            self.after_feed_forward,
        ];
        all.into_iter().flatten()
    }
}
