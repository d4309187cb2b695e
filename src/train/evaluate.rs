//! Predictions and losses over a split, without gradients or dropout.

use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Kind, TchError, Tensor};

use crate::base::torch;
use crate::data::batch::{Batch, BatchLabels, batches};
use crate::data::encoded::EncodedSplit;
use crate::model::ModelError;
use crate::model::architecture::Model;
use crate::train::client_round::on_device;
use crate::train::precision::Compute;

/// The predictions of a model for a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Logits, row-major, (examples, labels), in the split's own order. Those of tokens are not
    /// kept.
    pub logits: Vec<f32>,
    /// Mean loss over the labels: one an example, each that it may have, or each token of its
    /// answer. Not a number where they are secret.
    pub loss: f64,
}

/// Runs a model over a split, `batch_size` examples at a time, longest texts together so that
/// little is padding.
///
/// On a CPU each core takes batches and a copy of the model, over the same weights; so the bits
/// of what comes out depend on the number of cores as little as the time depends on a batch's size.
///
/// # Errors
/// If there is no model, or libtorch fails.
pub fn predict(
    model: impl Fn() -> Result<Box<dyn Model>, ModelError> + Sync,
    split: &EncodedSplit,
    batch_size: usize,
    pad: u32,
    compute: Compute,
) -> Result<Predictions, ModelError> {
    predict_counting(model, split, batch_size, pad, compute, &|_| {})
}

/// The same; `counted` is told after each batch how many examples are done.
///
/// # Errors
/// If there is no model, or libtorch fails.
pub fn predict_counting(
    model: impl Fn() -> Result<Box<dyn Model>, ModelError> + Sync,
    split: &EncodedSplit,
    batch_size: usize,
    pad: u32,
    compute: Compute,
    counted: &(dyn Fn(usize) + Sync),
) -> Result<Predictions, ModelError> {
    let mut order: Vec<u32> = (0..split.len() as u32).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(split.ids(i as usize).len()));
    let batches: Vec<&[u32]> = batches(&order, batch_size).collect();
    let workers = match compute.device {
        Device::Cpu => torch::threads::cores().min(batches.len()),
        _ => 1,
    };
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |()| -> Result<Vec<(usize, BatchOutputs)>, ModelError> {
        let model = model()?;
        let mut answers = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(positions) = batches.get(index) else {
                return download(answers);
            };
            let batch = Batch::gather(split, positions, pad);
            answers.push((index, answer(&*model, &batch, compute)?));
            let count = positions.len();
            counted(done.fetch_add(count, Ordering::Relaxed) + count);
        }
    };
    let answers = torch::threads::in_parallel(vec![(); workers], work).into_iter();
    let mut answers = answers.collect::<Result<Vec<_>, _>>()?.concat();
    // The loss is summed in the order of the batches, whichever was first.
    answers.sort_by_key(|(index, _)| *index);
    let mut predictions = Predictions::default();
    for (index, answer) in answers {
        predictions.loss += answer.loss;
        let width = answer.logits.len() / batches[index].len();
        if width == 0 {
            continue;
        }
        predictions.logits.resize(split.len() * width, 0.0);
        for (&position, row) in batches[index].iter().zip(answer.logits.chunks(width)) {
            let at = position as usize * width;
            predictions.logits[at..at + width].copy_from_slice(row);
        }
    }
    let targets: usize = (0..split.len()).map(|at| split.num_targets(at)).sum();
    predictions.loss /= targets.max(1) as f64;
    Ok(predictions)
}

/// The predictions of a model for a batch.
#[derive(Clone)]
struct BatchOutputs {
    /// Row-major, (examples, labels); none of tokens.
    logits: Vec<f32>,
    /// The sum over the labels; not a number where they are secret.
    loss: f64,
}

/// The same, on the device.
struct DeviceOutputs {
    /// (examples × labels), float32.
    logits: Option<Tensor>,
    /// The mean over the labels, and their number.
    loss: Option<(Tensor, usize)>,
    /// The loss where it needs no model.
    known: f64,
}

fn answer(model: &dyn Model, batch: &Batch, compute: Compute) -> Result<DeviceOutputs, ModelError> {
    let (inputs, given) = on_device(batch, compute.device)?;
    let autocast = compute.autocast()?;
    let outputs = model.outputs(&inputs, None)?.f_to_kind(Kind::Float)?;
    let _narrow = match batch.labels {
        BatchLabels::Tokens { .. } => autocast,
        BatchLabels::Rows(_) | BatchLabels::Sets { .. } => None,
    };
    let (loss, known) = match (batch.labels.are_known(), batch.labels.len()) {
        (false, _) => (None, f64::NAN),
        (true, 0) => (None, 0.0),
        (true, targets) => {
            let loss = model.loss(&outputs, &given, 0.0)?;
            (Some((loss.mean, targets)), 0.0)
        }
    };
    let logits = match batch.labels {
        BatchLabels::Rows(_) | BatchLabels::Sets { .. } => Some(outputs.f_flatten(0, -1)?),
        BatchLabels::Tokens { .. } => None,
    };
    Ok(DeviceOutputs {
        logits,
        loss,
        known,
    })
}

/// Brings what a device has of all batches to the host, which waits for it twice and not with every
/// batch.
fn download(
    outputs: Vec<(usize, DeviceOutputs)>,
) -> Result<Vec<(usize, BatchOutputs)>, ModelError> {
    let logits = outputs.iter().filter_map(|(_, of)| of.logits.as_ref());
    let lengths: Vec<_> = logits.clone().map(Tensor::numel).collect();
    let logits: Vec<f32> = joined(&logits.collect::<Vec<_>>())?;
    let means = outputs.iter().filter_map(|(_, of)| of.loss.as_ref());
    let means = means.map(|(mean, _)| mean.f_to_kind(Kind::Double)?.f_reshape([1]));
    let means = means.collect::<Result<Vec<_>, _>>()?;
    let means: Vec<f64> = joined(&means.iter().collect::<Vec<_>>())?;
    let (mut rest, mut lengths, mut means) =
        (logits.as_slice(), lengths.into_iter(), means.into_iter());
    let mut found = Vec::with_capacity(outputs.len());
    for (index, of) in outputs {
        let length = of.logits.and_then(|_| lengths.next()).unwrap_or(0);
        let (own, after) = rest.split_at(length);
        rest = after;
        let mean = of
            .loss
            .and_then(|(_, targets)| Some((means.next()?, targets)));
        let loss = mean.map_or(of.known, |(mean, targets)| mean * targets as f64);
        let logits = own.to_vec();
        found.push((index, BatchOutputs { logits, loss }));
    }
    Ok(found)
}

/// The values of flat tensors one after the other, by one copy.
fn joined<T>(tensors: &[&Tensor]) -> Result<Vec<T>, ModelError>
where
    Vec<T>: TryFrom<Tensor, Error = TchError>,
{
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let all = Tensor::f_cat(tensors, 0)?;
    Ok(Vec::try_from(all.f_to_device(Device::Cpu)?)?)
}
