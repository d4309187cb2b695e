//! BERT: Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language
//! Understanding*, 2019.

use crate::model::encoder::embeddings::PositionNumbers;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind};

/// BERT, with one linear layer on the pooled first token.
pub const BERT: Family = Family(&Bert);

#[derive(Debug)]
struct Bert;

impl EncoderFamily for Bert {
    fn name(&self) -> &'static str {
        "bert"
    }

    fn title(&self) -> &'static str {
        "BERT"
    }

    fn class_stem(&self) -> &'static str {
        "Bert"
    }

    fn tokenizer_class(&self) -> &'static str {
        "BertTokenizer"
    }

    fn default_vocabulary(&self) -> i64 {
        30_522
    }

    fn default_padding(&self) -> i64 {
        0
    }

    /// BERT learns from the mask what is padding, so any token serves.
    fn padding_is_optional(&self) -> bool {
        true
    }

    fn unused_positions(&self, _: i64) -> i64 {
        0
    }

    fn pads_positions(&self) -> bool {
        false
    }

    fn ignores_single_type(&self) -> bool {
        false
    }

    fn head(&self) -> HeadKind {
        HeadKind::Pooled
    }

    fn position_numbers(&self, _: i64) -> PositionNumbers {
        PositionNumbers::FromZero
    }
}
