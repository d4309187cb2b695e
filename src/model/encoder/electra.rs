//! ELECTRA: Clark et al., *ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
//! Generators*, 2020.

use crate::model::activation::Activation;
use crate::model::encoder::bert::BERT;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind, LayerSizes};

/// ELECTRA, the discriminator: a BERT without pooler, whose embeddings may be narrower than its
/// layers, with a classification head of two layers.
pub const ELECTRA: Family = &EncoderFamily {
    name: "electra",
    title: "ELECTRA",
    class_stem: "Electra",
    tokenizer_class: "ElectraTokenizer",
    prefix: "electra",
    default_sizes: LayerSizes {
        hidden: 256,
        heads: 4,
        intermediate: 1024,
    },
    default_embedding: Some(128),
    head: HeadKind::TwoLayers,
    head_activation: Activation::Gelu,
    ..*BERT
};
