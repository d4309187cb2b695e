//! Predictions and losses over a split, without gradients or dropout.

use tch::{Kind, no_grad_guard};

use super::local::{inputs, labels};
use super::precision::Compute;
use crate::glue::batch::{Batch, batches};
use crate::glue::tokenize::EncodedSplit;
use crate::model::classifier::loss;
use crate::model::{Classifier, ModelError};

/// What a model says of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Logits, row-major, (examples, labels), in the split's own order.
    pub logits: Vec<f32>,
    /// Mean loss over the examples; not a number where labels are secret.
    pub loss: f64,
}

/// Runs a model over a split, `batch_size` examples at a time, longest texts together so that
/// little is padding.
///
/// # Errors
/// When libtorch fails.
pub fn predict(
    model: &Classifier,
    split: &EncodedSplit,
    batch_size: usize,
    pad: u32,
    compute: Compute,
) -> Result<Predictions, ModelError> {
    let _no_grad = no_grad_guard();
    let mut order: Vec<u32> = (0..split.len() as u32).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(split.ids(i as usize).len()));
    let mut predictions = Predictions::default();
    for positions in batches(&order, batch_size) {
        let batch = Batch::gather(split, positions, pad);
        let inputs = inputs(&batch, compute)?;
        let autocast = compute.autocast()?;
        let logits = model.logits(&inputs, None)?.f_to_kind(Kind::Float)?;
        drop(autocast);
        predictions.loss += match batch.labels.iter().any(|label| label.is_nan()) {
            true => f64::NAN,
            false => {
                loss(&logits, &labels(&batch, compute)?)?.f_double_value(&[])? * batch.rows as f64
            }
        };
        let width = logits.size()[1] as usize;
        predictions.logits.resize(split.len() * width, 0.0);
        let rows = Vec::<f32>::try_from(&logits.f_to_device(tch::Device::Cpu)?.f_flatten(0, -1)?)?;
        for (&position, row) in positions.iter().zip(rows.chunks(width)) {
            let at = position as usize * width;
            predictions.logits[at..at + width].copy_from_slice(row);
        }
    }
    predictions.loss /= split.len().max(1) as f64;
    Ok(predictions)
}
