//! ELECTRA: Clark et al., *ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
//! Generators*, 2020. A BERT without pooler, whose embeddings may be narrower than its layers.

use crate::model::activation::Activation;
use crate::model::encoder::embeddings::PositionNumbers;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind, LayerSizes};

/// ELECTRA, the discriminator, with a classification head of two layers.
pub const ELECTRA: Family = Family(&Electra);

#[derive(Debug)]
struct Electra;

impl EncoderFamily for Electra {
    fn name(&self) -> &'static str {
        "electra"
    }

    fn title(&self) -> &'static str {
        "ELECTRA"
    }

    fn class_stem(&self) -> &'static str {
        "Electra"
    }

    fn tokenizer_class(&self) -> &'static str {
        "ElectraTokenizer"
    }

    fn default_vocabulary(&self) -> i64 {
        30_522
    }

    fn default_sizes(&self) -> LayerSizes {
        LayerSizes {
            hidden: 256,
            heads: 4,
            intermediate: 1024,
        }
    }

    fn default_embedding(&self) -> Option<i64> {
        Some(128)
    }

    fn default_padding(&self) -> i64 {
        0
    }

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
        HeadKind::TwoLayers
    }

    fn head_activation(&self) -> Activation {
        Activation::Gelu
    }

    fn position_numbers(&self, _: i64) -> PositionNumbers {
        PositionNumbers::FromZero
    }
}
