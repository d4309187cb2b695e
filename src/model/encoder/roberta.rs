//! RoBERTa: Liu et al., *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, 2019.

use crate::model::encoder::embeddings::PositionNumbers;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind};

/// RoBERTa, with a classification head of two layers.
pub const ROBERTA: Family = Family(&Roberta);

#[derive(Debug)]
struct Roberta;

impl EncoderFamily for Roberta {
    fn name(&self) -> &'static str {
        "roberta"
    }

    fn title(&self) -> &'static str {
        "RoBERTa"
    }

    fn class_stem(&self) -> &'static str {
        "Roberta"
    }

    fn tokenizer_class(&self) -> &'static str {
        "RobertaTokenizer"
    }

    fn default_vocabulary(&self) -> i64 {
        50_265
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

    /// Most models know one token type: what a tokenizer says of types does not matter to them.
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
