//! Mistral: Jiang et al., *Mistral 7B*, 2023; windows: Beltagy et al., *Longformer*, 2020.

use crate::model::decoder::rotary::family::{LayerNorms, RotaryFamily};
use crate::model::layers::NormScale;

/// Mistral: Llama with a window on all layers, or, since version 0.2 of the 7B model, on none.
pub static MISTRAL: RotaryFamily = RotaryFamily {
    name: "mistral",
    title: "Mistral",
    class_stem: "Mistral",
    tokenizer_class: "LlamaTokenizer",
    norms: LayerNorms::BEFORE,
    norm_scale: NormScale::Weight,
    query_key_norms: false,
    query_key_value_biases: false,
    scaled_embeddings: false,
};
