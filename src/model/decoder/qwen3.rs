//! Qwen3: Yang et al., *Qwen3 Technical Report*, 2025; norms of queries and keys: Dehghani et al.,
//! *Scaling Vision Transformers to 22 Billion Parameters*, 2023.

use crate::model::decoder::rotary::family::{LayerNorms, RotaryFamily};
use crate::model::layers::NormScale;

/// Qwen3: Qwen2 with norms of queries and keys in place of their biases.
pub static QWEN3: RotaryFamily = RotaryFamily {
    name: "qwen3",
    title: "Qwen3",
    class_stem: "Qwen3",
    tokenizer_class: "Qwen2Tokenizer",
    norms: LayerNorms::BEFORE,
    norm_scale: NormScale::Weight,
    query_key_norms: true,
    query_key_value_biases: false,
    scaled_embeddings: false,
};
