//! Gemma 2: Gemma Team, *Gemma 2: Improving Open Language Models at a Practical Size*, 2024.

use crate::model::decoder::rotary::family::{LayerNorms, RotaryFamily};
use crate::model::layers::NormScale;

/// Gemma 2: norms on both sides of each part of a layer, soft caps on scores and logits, windows on
/// every other layer, and a scale of scores that its configuration says.
pub static GEMMA2: RotaryFamily = RotaryFamily {
    name: "gemma2",
    title: "Gemma 2",
    class_stem: "Gemma2",
    tokenizer_class: "GemmaTokenizer",
    norms: LayerNorms {
        attention: "input_layernorm",
        after_attention: Some("post_attention_layernorm"),
        feed_forward: "pre_feedforward_layernorm",
        after_feed_forward: Some("post_feedforward_layernorm"),
    },
    norm_scale: NormScale::OneAndWeight,
    query_key_norms: false,
    query_key_value_biases: false,
    scaled_embeddings: true,
};
