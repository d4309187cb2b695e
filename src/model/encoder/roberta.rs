//! RoBERTa: Liu et al., *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, 2019.

use tch::{Kind, Tensor};

use crate::model::ModelError;
use crate::model::encoder::family::{EncoderFamily, Family, HeadKind};
use crate::model::inputs::Inputs;

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

    fn ignores_single_type(&self) -> bool {
        true
    }

    fn head(&self) -> HeadKind {
        HeadKind::TwoLayers
    }

    /// Positions are counted from after the padding index, and most models know one token type:
    /// what a tokenizer says of types does not matter to them.
    fn positions_and_types(
        &self,
        inputs: &Inputs,
        padding: i64,
        types: i64,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let ids = &inputs.ids;
        let real = ids.f_ne(padding)?.f_to_kind(Kind::Int64)?;
        let counted = real.f_cumsum(1, Kind::Int64)?.f_mul(&real)?;
        let types = match types {
            1 => ids.f_zeros_like()?,
            _ => inputs.types()?,
        };
        Ok((counted.f_add_scalar(padding)?, types))
    }
}
