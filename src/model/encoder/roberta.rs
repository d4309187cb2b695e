//! RoBERTa: Liu et al., *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, 2019.

use crate::model::activation::Activation;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind, LayerSizes};

/// RoBERTa, with a classification head of two layers.
pub const ROBERTA: Family = &EncoderFamily {
    name: "roberta",
    title: "RoBERTa",
    class_stem: "Roberta",
    tokenizer_class: "RobertaTokenizer",
    prefix: "roberta",
    default_vocabulary: 50_265,
    default_sizes: LayerSizes::BASE,
    default_embedding: None,
    default_padding: 1,
    positions_after_padding: true,
    // Most models know one token type: what a tokenizer says of types does not matter to them.
    ignores_single_type: true,
    head: HeadKind::TwoLayers,
    head_activation: Activation::Tanh,
};
