//! A batch as a model takes it.

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::documents::Documents;

/// One padded batch on a device.
#[derive(Debug)]
pub struct Inputs {
    /// Token ids, (rows, tokens), int64.
    pub ids: Tensor,
    /// 1 at real tokens, 0 at padding, (rows, tokens), int64.
    pub mask: Tensor,
    /// Token types, (rows, tokens), int64; a RoBERTa with one type ignores them.
    pub types: Tensor,
    /// Whether any position is padding. Known on the host, so that no device has to be asked.
    pub padded: bool,
    /// The texts of rows that have several, of which none sees another; language models alone take
    /// such rows.
    pub documents: Option<Documents>,
}

impl Inputs {
    /// Copies a batch of `rows` rows, given row-major, to a device.
    ///
    /// # Errors
    /// If the slices do not fill `rows` rows or the device fails.
    pub fn new(
        rows: i64,
        ids: &[i64],
        mask: &[i64],
        types: &[i64],
        device: Device,
    ) -> Result<Self, ModelError> {
        let place = |values: &[i64]| -> Result<Tensor, ModelError> {
            Ok(Tensor::f_from_slice(values)?
                .f_view([rows, -1])?
                .f_to_device(device)?)
        };
        let padded = mask.contains(&0);
        Ok(Self {
            ids: place(ids)?,
            mask: place(mask)?,
            types: place(types)?,
            padded,
            documents: None,
        })
    }

    /// What is added to attention scores: 0 at real tokens and −∞, as near as the kind has it, at
    /// padding; (rows, 1, 1, tokens). `None` when nothing is padded, which is faster.
    pub(crate) fn attention_bias(&self, kind: Kind) -> Result<Option<Tensor>, ModelError> {
        if !self.padded {
            return Ok(None);
        }
        let padding = self.mask.f_eq(0)?.f_unsqueeze(1)?.f_unsqueeze(1)?;
        let zeros = padding.f_zeros_like()?.f_to_kind(kind)?;
        Ok(Some(zeros.f_masked_fill(&padding, Self::lowest(kind))?))
    }

    /// What is added to the score of what is not attended to: −∞, as near as the kind has it.
    pub(crate) fn lowest(kind: Kind) -> f64 {
        match kind {
            Kind::Half => -65504.0,
            // Fewer digits than float32 has, so that it cannot hold what is nearest to the end.
            Kind::BFloat16 => -3.3895e38,
            _ => f64::from(f32::MIN),
        }
    }
}
