//! The places of tokens in their texts, and the tables that queries and keys are rotated by.

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::decoder::rope::Rope;
use crate::model::documents::Documents;
use crate::model::joint::{self, BatchShape};

/// The places of tokens in their texts.
pub(crate) enum Positions {
    /// 0 to N in every row.
    FromStart(i64),
    /// Each token's, (rows × tokens), in texts of at most as many tokens.
    Each {
        places: Vec<i64>,
        rows: i64,
        longest: i64,
    },
    /// A token of each row, at this place.
    Own(Vec<i64>),
}

impl Positions {
    /// Those of texts, several to a row where there are documents.
    ///
    /// # Errors
    /// If the documents do not fit the rows.
    pub fn of_texts(ids: &Tensor, documents: Option<&Documents>) -> Result<Self, ModelError> {
        let (rows, tokens) = ids.size2()?;
        let Some(documents) = documents else {
            return Ok(Self::FromStart(tokens));
        };
        let fits = |lengths: &Vec<i64>| lengths.iter().sum::<i64>() <= tokens;
        if documents.rows().len() as i64 != rows || !documents.rows().iter().all(fits) {
            return Err(ModelError::Refused(format!(
                "the texts of packed rows do not fit {rows} rows of {tokens} tokens"
            )));
        }
        Ok(Self::Each {
            places: documents.positions(tokens),
            rows,
            longest: documents.longest(),
        })
    }

    /// Their numbers, (tokens), (rows, tokens) or (rows, 1), int64.
    ///
    /// # Errors
    /// If the device fails.
    pub fn numbers(&self, device: Device) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::FromStart(tokens) => Tensor::f_arange(*tokens, (Kind::Int64, device))?,
            Self::Each { places, rows, .. } => Tensor::f_from_slice(places)?
                .f_view([*rows, -1])?
                .f_to_device(device)?,
            Self::Own(each) => Tensor::f_from_slice(each)?
                .f_unsqueeze(1)?
                .f_to_device(device)?,
        })
    }

    /// The cosines and sines that queries and keys are rotated by, (tokens, head_dim) or
    /// (rows, 1, tokens, head_dim).
    ///
    /// # Errors
    /// If the device fails.
    pub fn rotary(&self, rope: &Rope, device: Device) -> Result<(Tensor, Tensor), ModelError> {
        Ok(match self {
            Self::FromStart(tokens) => rope.tables(*tokens, device)?,
            Self::Each {
                places,
                rows,
                longest,
            } => {
                let (cos, sin) = rope.tables(*longest, device)?;
                let places = Tensor::f_from_slice(places)?.f_to_device(device)?;
                let each = |table: Tensor| {
                    let width = table.size2()?.1;
                    let rows = [*rows, 1, -1, width];
                    table.f_index_select(0, &places)?.f_view(rows)
                };
                (each(cos)?, each(sin)?)
            }
            Self::Own(each) => {
                let (cos, sin) = rope.tables_of_last(each, device)?;
                let per_row = |table: Tensor| table.f_view([each.len() as i64, 1, 1, -1]);
                (per_row(cos)?, per_row(sin)?)
            }
        })
    }
}

/// Cosines and sines of the positions, (tokens, head_dim) or (rows, 1, tokens, head_dim), where a model
/// rotates by them.
pub(crate) type Rotary = Option<(Tensor, Tensor)>;

/// The cosines and sines of batches that lie side by side, (1, 1, tokens of all, head_dim), of those of
/// each, (tokens, head_dim) or (rows, 1, tokens, head_dim).
pub(crate) fn side_by_side(
    tables: &[((Tensor, Tensor), BatchShape)],
) -> Result<(Tensor, Tensor), ModelError> {
    let every_token = |table: &Tensor, shape: &BatchShape| -> Result<Tensor, ModelError> {
        let width = table.size().last().copied().unwrap_or(0);
        let table = table.f_reshape([-1, shape.tokens, width])?;
        Ok(table.f_expand([shape.rows, -1, -1], false)?)
    };
    let (mut cosines, mut sines) = (Vec::new(), Vec::new());
    for ((cos, sin), shape) in tables {
        cosines.push(every_token(cos, shape)?);
        sines.push(every_token(sin, shape)?);
    }
    let all = |tables: &[Tensor]| joint::join(tables)?.f_unsqueeze(0);
    Ok((all(&cosines)?, all(&sines)?))
}
