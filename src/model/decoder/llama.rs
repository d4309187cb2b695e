//! Llama: Touvron et al., *LLaMA: Open and Efficient Foundation Language Models*, 2023; grouped
//! heads: Ainslie et al., *GQA*, 2023.

use crate::model::decoder::rotary::family::{LayerNorms, RotaryFamily};
use crate::model::layers::NormScale;

/// Llama, whose layers all see the whole text.
pub static LLAMA: RotaryFamily = RotaryFamily {
    name: "llama",
    title: "Llama",
    class_stem: "Llama",
    tokenizer_class: "LlamaTokenizer",
    norms: LayerNorms::BEFORE,
    norm_scale: NormScale::Weight,
    query_key_norms: false,
    query_key_value_biases: false,
    scaled_embeddings: false,
};
