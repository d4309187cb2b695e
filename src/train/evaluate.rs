//! Predictions and losses over a split, without gradients or dropout.

use tch::{Kind, Tensor, no_grad_guard};

use super::local::inputs;
use super::precision::Compute;
use crate::glue::batch::{Batch, batches};
use crate::glue::tokenize::EncodedSplit;
use crate::model::classifier::loss;
use crate::model::{Classifier, ModelError};

/// What a model says of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Per example: the class, or the regression's value.
    pub values: Vec<f32>,
    /// Mean loss over the examples; not a number where there are no labels.
    pub loss: f64,
}

/// Runs a model over a split, `batch_size` examples at a time, longest texts together so that
/// little is padding; the result is in the split's own order.
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
    let mut predictions = Predictions {
        values: vec![0.0; split.len()],
        loss: 0.0,
    };
    for positions in batches(&order, batch_size) {
        let batch = Batch::gather(split, positions, pad);
        let inputs = inputs(&batch, compute)?;
        let autocast = compute.autocast()?;
        let logits = model.logits(&inputs, None)?.f_to_kind(Kind::Float)?;
        drop(autocast);
        let labels = Tensor::f_from_slice(&batch.labels)?.f_to_device(compute.device)?;
        if !batch.labels.iter().any(|label| label.is_nan()) {
            predictions.loss += loss(&logits, &labels)?.f_double_value(&[])? * batch.rows as f64;
        } else {
            predictions.loss = f64::NAN;
        }
        for (&position, value) in positions.iter().zip(decide(&logits)?) {
            predictions.values[position as usize] = value;
        }
    }
    predictions.loss /= split.len().max(1) as f64;
    Ok(predictions)
}

/// The likeliest class of each row, or the value when there is one output.
fn decide(logits: &Tensor) -> Result<Vec<f32>, ModelError> {
    let values = match logits.size()[1] {
        1 => logits.f_squeeze_dim(1)?,
        _ => logits.f_argmax(1, false)?.f_to_kind(Kind::Float)?,
    };
    Ok(Vec::try_from(&values.f_to_device(tch::Device::Cpu)?)?)
}
