//! What an encoder embeds of a token: the token itself, its type, and its place.

use tch::{Kind, Tensor};

use crate::model::ModelError;
use crate::model::inputs::Inputs;
use crate::model::layers::Embedding;

/// The rows of a position embedding that tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionNumbers {
    /// Counted from 0, padding included.
    FromZero,
    /// Counted from after the padding token's number, which padding itself has.
    AfterPadding(i64),
}

impl PositionNumbers {
    /// The rows, (rows, tokens) or (1, tokens), for token ids (rows, tokens).
    fn of(self, ids: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::FromZero => {
                let numbers = Tensor::f_arange(ids.size()[1], (Kind::Int64, ids.device()))?;
                Ok(numbers.f_unsqueeze(0)?)
            }
            Self::AfterPadding(padding) => {
                let real = ids.f_ne(padding)?.f_to_kind(Kind::Int64)?;
                let counted = real.f_cumsum(1, Kind::Int64)?.f_mul(&real)?;
                Ok(counted.f_add_scalar(padding)?)
            }
        }
    }
}

/// Token types.
pub(crate) struct TypeTable {
    pub table: Embedding,
    /// Whether all tokens are of type 0, whatever a tokenizer says.
    pub ignored: bool,
}

/// Word, token type and position embeddings, summed.
pub(crate) struct EmbeddingSum {
    pub words: Embedding,
    pub types: Option<TypeTable>,
    pub positions: Option<(Embedding, PositionNumbers)>,
}

impl EmbeddingSum {
    /// The sum, (rows, tokens, width).
    pub fn forward(&self, inputs: &Inputs) -> Result<Tensor, ModelError> {
        let ids = &inputs.ids;
        let mut sum = self.words.forward(ids)?;
        if let Some(types) = &self.types {
            let numbers = match types.ignored {
                true => ids.f_zeros_like()?,
                false => inputs.types()?,
            };
            sum = sum.f_add(&types.table.forward(&numbers)?)?;
        }
        if let Some((table, numbers)) = &self.positions {
            sum = sum.f_add(&table.forward(&numbers.of(ids)?)?)?;
        }
        Ok(sum)
    }
}
