//! BERT: Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language
//! Understanding*, 2019.

use crate::model::activation::Activation;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind, LayerSizes};

/// BERT, with one linear layer on the pooled first token.
pub const BERT: Family = &EncoderFamily {
    name: "bert",
    title: "BERT",
    class_stem: "Bert",
    tokenizer_class: "BertTokenizer",
    prefix: "bert",
    default_vocabulary: 30_522,
    default_sizes: LayerSizes::BASE,
    default_embedding: None,
    default_padding: 0,
    positions_after_padding: false,
    ignores_single_type: false,
    head: HeadKind::Pooled,
    head_activation: Activation::Tanh,
};
