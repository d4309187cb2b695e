//! A batch as a model takes it.

use tch::{Device, Kind, TchError, Tensor};

use crate::base::torch;
use crate::model::ModelError;
use crate::model::documents::Documents;

/// One padded batch on a device.
#[derive(Debug)]
pub struct Inputs {
    /// Token ids, (rows, tokens), int64.
    pub ids: Tensor,
    /// 1 at real tokens, 0 at padding, (rows, tokens), int64; `None` where nothing is padding. Known
    /// on the host, so that no device has to be asked.
    pub mask: Option<Tensor>,
    /// Token types, (rows, tokens), int64, which a RoBERTa with one type ignores; `None`: all are 0.
    types: Option<Tensor>,
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
        let mut upload = Upload::default();
        let inputs = upload.inputs(ids, mask, types);
        inputs.of(rows, &upload.send(device)?)
    }

    /// Token types, (rows, tokens).
    pub(crate) fn types(&self) -> Result<Tensor, TchError> {
        match &self.types {
            Some(types) => Ok(types.shallow_clone()),
            None => self.ids.f_zeros_like(),
        }
    }

    /// 1 at real tokens, 0 at padding, (rows, tokens), int64, whether there is padding or not.
    pub(crate) fn real(&self) -> Result<Tensor, TchError> {
        match &self.mask {
            Some(mask) => Ok(mask.shallow_clone()),
            None => self.ids.f_ones_like(),
        }
    }

    /// What is added to attention scores: 0 at real tokens and −∞, as near as the kind has it, at
    /// padding; (rows, 1, 1, tokens). `None` when nothing is padded, which is faster.
    pub(crate) fn attention_bias(&self, kind: Kind) -> Result<Option<Tensor>, ModelError> {
        let Some(mask) = &self.mask else {
            return Ok(None);
        };
        let padding = mask.f_eq(0)?.f_unsqueeze(1)?.f_unsqueeze(1)?;
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

/// Numbers that go to a device together: one copy is queued where each would be one of its own.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    values: Vec<i64>,
}

/// The place of some numbers in an [`Upload`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    start: usize,
    len: usize,
}

/// The places of [`Inputs`].
#[derive(Debug)]
pub(crate) struct PackedInputs {
    ids: Packed,
    mask: Option<Packed>,
    types: Option<Packed>,
}

impl Upload {
    /// Adds integers.
    pub fn integers(&mut self, values: &[i64]) -> Packed {
        let start = self.values.len();
        self.values.extend_from_slice(values);
        Packed {
            start,
            len: values.len(),
        }
    }

    /// Adds numbers of 32 bits, two in the place of an integer.
    pub fn floats(&mut self, values: &[f32]) -> Packed {
        let start = self.values.len();
        self.values.extend(values.chunks(2).map(|pair| {
            let second = pair.get(1).copied().unwrap_or_default();
            let ([a, b, c, d], [e, f, g, h]) = (pair[0].to_ne_bytes(), second.to_ne_bytes());
            i64::from_ne_bytes([a, b, c, d, e, f, g, h])
        }));
        Packed {
            start,
            len: values.len(),
        }
    }

    /// Adds a batch, of which nothing goes that a device can know without.
    pub fn inputs(&mut self, ids: &[i64], mask: &[i64], types: &[i64]) -> PackedInputs {
        PackedInputs {
            ids: self.integers(ids),
            mask: mask.contains(&0).then(|| self.integers(mask)),
            types: types
                .iter()
                .any(|one| *one != 0)
                .then(|| self.integers(types)),
        }
    }

    /// The numbers on the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn send(&self, device: Device) -> Result<Tensor, TchError> {
        torch::device::to_device(&Tensor::f_from_slice(&self.values)?, device)
    }
}

impl Packed {
    /// The integers among what was sent.
    ///
    /// # Errors
    /// If that is not what they were packed into.
    pub fn integers(self, sent: &Tensor) -> Result<Tensor, TchError> {
        sent.f_narrow(0, self.start as i64, self.len as i64)
    }

    /// The numbers of 32 bits among what was sent.
    ///
    /// # Errors
    /// If that is not what they were packed into.
    pub fn floats(self, sent: &Tensor) -> Result<Tensor, TchError> {
        let pairs = sent.f_narrow(0, self.start as i64, self.len.div_ceil(2) as i64)?;
        let numbers = pairs.f_view_dtype(Kind::Float)?;
        numbers.f_narrow(0, 0, self.len as i64)
    }
}

impl PackedInputs {
    /// The batch of `rows` rows among what was sent, a text to a row.
    ///
    /// # Errors
    /// If its numbers do not fill the rows.
    pub fn of(&self, rows: i64, sent: &Tensor) -> Result<Inputs, ModelError> {
        let table = |packed: Packed| packed.integers(sent)?.f_view([rows, -1]);
        Ok(Inputs {
            ids: table(self.ids)?,
            mask: self.mask.map(table).transpose()?,
            types: self.types.map(table).transpose()?,
            documents: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_of_a_batch_come_in_one_piece_and_are_what_they_were() {
        let mut upload = Upload::default();
        let (ids, mask) = ([5, 6, 7, 8, 9, 1], [1, 1, 1, 1, 1, 0]);
        let inputs = upload.inputs(&ids, &mask, &[0, 0, 1, 0, 1, 1]);
        let labels = upload.floats(&[1.0, -0.5, f32::NAN]);
        let places = upload.integers(&[3, 4]);
        let sent = upload.send(Device::Cpu).unwrap();
        assert_eq!(sent.size(), [3 * 6 + 2 + 2]);
        let inputs = inputs.of(2, &sent).unwrap();
        let same = |tensor: &Tensor, values: &[i64]| {
            assert_eq!(tensor, &Tensor::from_slice(values).view([2, 3]));
        };
        same(&inputs.ids, &ids);
        same(inputs.mask.as_ref().unwrap(), &mask);
        same(&inputs.types().unwrap(), &[0, 0, 1, 0, 1, 1]);
        let labels: Vec<f32> = Vec::try_from(labels.floats(&sent).unwrap()).unwrap();
        assert_eq!(labels[..2], [1.0, -0.5]);
        assert!(labels.len() == 3 && labels[2].is_nan());
        let places: Vec<i64> = Vec::try_from(places.integers(&sent).unwrap()).unwrap();
        assert_eq!(places, [3, 4]);
    }

    #[test]
    fn nothing_is_sent_that_a_device_can_know_without() {
        let mut upload = Upload::default();
        let inputs = upload.inputs(&[5, 6], &[1, 1], &[0, 0]);
        let sent = upload.send(Device::Cpu).unwrap();
        assert_eq!(sent.size(), [2]);
        let inputs = inputs.of(1, &sent).unwrap();
        assert!(inputs.mask.is_none());
        assert_eq!(
            inputs.types().unwrap(),
            Tensor::from_slice(&[0_i64, 0]).view([1, 2])
        );
    }
}
