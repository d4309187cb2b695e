//! XLM-RoBERTa: Conneau et al., *Unsupervised Cross-lingual Representation Learning at Scale*, 2020.
//! A RoBERTa with another vocabulary and tokenizer.

use crate::model::encoder::embeddings::PositionNumbers;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind};

/// XLM-RoBERTa, which is computed as RoBERTa is.
pub const XLM_ROBERTA: Family = Family(&XlmRoberta);

#[derive(Debug)]
struct XlmRoberta;

impl EncoderFamily for XlmRoberta {
    fn name(&self) -> &'static str {
        "xlm-roberta"
    }

    /// The same as RoBERTa's.
    fn prefix(&self) -> &'static str {
        "roberta"
    }

    fn title(&self) -> &'static str {
        "XLM-RoBERTa"
    }

    fn class_stem(&self) -> &'static str {
        "XLMRoberta"
    }

    fn tokenizer_class(&self) -> &'static str {
        "XLMRobertaTokenizer"
    }

    fn default_vocabulary(&self) -> i64 {
        30_522
    }

    fn default_padding(&self) -> i64 {
        1
    }

    /// Positions are counted from the padding token's number.
    fn padding_is_optional(&self) -> bool {
        false
    }

    fn unused_positions(&self, padding: i64) -> i64 {
        padding + 1
    }

    fn pads_positions(&self) -> bool {
        true
    }

    fn ignores_single_type(&self) -> bool {
        true
    }

    fn head(&self) -> HeadKind {
        HeadKind::TwoLayers
    }

    fn position_numbers(&self, padding: i64) -> PositionNumbers {
        PositionNumbers::AfterPadding(padding)
    }
}
