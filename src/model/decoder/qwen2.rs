//! Qwen2 and Qwen2.5: Yang et al., *Qwen2 Technical Report*, 2024.

use crate::model::decoder::rotary::family::{LayerNorms, RotaryFamily};
use crate::model::layers::NormScale;

/// Qwen2: Llama with biases on queries, keys and values, and windows on the last layers, or on none.
pub static QWEN2: RotaryFamily = RotaryFamily {
    name: "qwen2",
    title: "Qwen2",
    class_stem: "Qwen2",
    tokenizer_class: "Qwen2Tokenizer",
    norms: LayerNorms::BEFORE,
    norm_scale: NormScale::Weight,
    query_key_norms: false,
    query_key_value_biases: true,
    scaled_embeddings: false,
};
