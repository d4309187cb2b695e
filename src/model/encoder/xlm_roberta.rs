//! XLM-RoBERTa: Conneau et al., *Unsupervised Cross-lingual Representation Learning at Scale*, 2020.

use crate::model::encoder::family::{EncoderFamily, Family};
use crate::model::encoder::roberta::ROBERTA;

/// XLM-RoBERTa: a RoBERTa with another vocabulary and tokenizer, whose tensors have the same names.
pub const XLM_ROBERTA: Family = &EncoderFamily {
    name: "xlm-roberta",
    title: "XLM-RoBERTa",
    class_stem: "XLMRoberta",
    tokenizer_class: "XLMRobertaTokenizer",
    default_vocabulary: 30_522,
    ..*ROBERTA
};
