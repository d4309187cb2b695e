//! One client's round: what is trained on what, and the parts that its batches are cut into.

use regatta_actors::random::StreamKey;
use tch::Device;

use crate::data::batch::{Batch, BatchLabels};
use crate::data::encoded::EncodedSplit;
use crate::data::packing::first_fit;
use crate::model::ModelError;
use crate::model::documents::Documents;
use crate::model::inputs::{Inputs, Upload};
use crate::model::loss::{Labels, PackedLabels};
use crate::train::precision::Compute;
use crate::train::replica::Replica;

/// Settings of local training.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalTraining {
    /// Passes over the shard.
    pub epochs: u32,
    /// Examples per optimiser step; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Whether each epoch has its own order.
    pub shuffle: bool,
    /// Share of what a label is to be given that all classes or tokens have.
    pub label_smoothing: f64,
    /// The largest norm of a step's gradients; `None`: any.
    pub max_grad_norm: Option<f64>,
}

/// One client's round, ready to be trained.
pub struct ClientRound<'a> {
    /// The client's model.
    pub replica: &'a Replica,
    /// The training split.
    pub split: &'a EncodedSplit,
    /// The client's positions in it.
    pub shard: &'a [u32],
    /// Keys the order of examples and the dropout masks.
    pub key: StreamKey<'a>,
    /// The padding token.
    pub pad: u32,
    /// The device and the numeric settings.
    pub compute: Compute,
    /// Parts that a batch is cut into at least, to save memory; 1 or more.
    pub micro_batches: usize,
    /// Tokens of a row that several examples share; `None` where each has a row of its own.
    pub row_tokens: Option<usize>,
    /// Tokens that a part has at most, padding included, so that it stays in caches; `None` where
    /// batches stay whole.
    pub part_tokens: Option<usize>,
}

/// The result of a round of local training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResult {
    /// Mean loss over the labels seen: one an example, each that it may have, or each token of its
    /// answer.
    pub loss: f64,
    /// Examples seen.
    pub examples: u64,
    /// Optimiser steps taken.
    pub steps: u64,
}

impl LocalTraining {
    /// Optimiser steps of a round on N examples.
    #[must_use]
    pub fn steps(&self, examples: usize) -> u64 {
        u64::from(self.epochs) * examples.div_ceil(self.batch_size) as u64
    }
}

/// A part of a batch that has a forward and a backward pass of its own.
pub(crate) struct BatchPart {
    /// Its examples.
    pub batch: Batch,
    /// Its share of the batch's labels.
    pub share: f64,
}

impl ClientRound<'_> {
    /// The parts of a batch, given by its examples' positions in the split.
    pub(crate) fn parts(&self, positions: &[u32]) -> impl Iterator<Item = BatchPart> {
        let rows = self.rows(positions);
        let longest = rows.iter().map(|row| self.tokens(row)).max().unwrap_or(0);
        let most = self.part_tokens.map(|tokens| tokens / longest.max(1));
        let targets = |position: &u32| self.split.num_targets(*position as usize);
        let all = positions.iter().map(targets).sum::<usize>() as f64;
        let size = part_rows(rows.len(), most, self.micro_batches);
        let starts = (0..rows.len()).step_by(size);
        starts.map(move |start| {
            let part = &rows[start..rows.len().min(start + size)];
            let batch = match self.row_tokens {
                None => Batch::gather(self.split, &part.concat(), self.pad),
                Some(_) => Batch::gather_packed(self.split, part, self.pad),
            };
            let share = batch.labels.len() as f64 / all;
            BatchPart { batch, share }
        })
    }

    /// The examples of each row of a batch. Where rows have several, they are no longer than a part,
    /// so that they stay in caches too.
    fn rows(&self, positions: &[u32]) -> Vec<Vec<u32>> {
        let Some(most) = self.row_tokens else {
            return positions.iter().map(|position| vec![*position]).collect();
        };
        let most = self.part_tokens.map_or(most, |tokens| tokens.min(most));
        let length = |position: &u32| self.split.ids(*position as usize).len();
        let lengths: Vec<usize> = positions.iter().map(length).collect();
        let rows = first_fit(&lengths, most).into_iter();
        rows.map(|row| row.into_iter().map(|at| positions[at]).collect())
            .collect()
    }

    /// The tokens of a row's examples.
    fn tokens(&self, row: &[u32]) -> usize {
        let length = |position: &u32| self.split.ids(*position as usize).len();
        row.iter().map(length).sum()
    }
}

/// Examples of each part of a batch, of about one size: at most `most`, where that is given, and in
/// at least N parts.
fn part_rows(rows: usize, most: Option<usize>, parts: usize) -> usize {
    let fitting = most.map_or(1, |most| rows.div_ceil(most.max(1)));
    rows.div_ceil(parts.max(fitting).max(1)).max(1)
}

/// A batch and its labels on the device.
///
/// # Errors
/// If the device fails.
pub(crate) fn on_device(batch: &Batch, device: Device) -> Result<(Inputs, Labels), ModelError> {
    let mut all = all_on_device(&[batch], device)?;
    all.pop()
        .ok_or_else(|| ModelError::Refused("a batch did not reach the device".to_owned()))
}

/// Batches and their labels on the device, by one copy.
///
/// # Errors
/// If the device fails.
pub(crate) fn all_on_device(
    batches: &[&Batch],
    device: Device,
) -> Result<Vec<(Inputs, Labels)>, ModelError> {
    let mut upload = Upload::default();
    let mut places = Vec::with_capacity(batches.len());
    for batch in batches {
        let inputs = upload.inputs(
            &batch.input_ids,
            &batch.attention_mask,
            &batch.token_type_ids,
        );
        let labels = match &batch.labels {
            BatchLabels::Rows(labels) => PackedLabels::rows(labels, &mut upload),
            BatchLabels::Sets { values, labels } => {
                PackedLabels::sets(values, *labels, &mut upload)
            }
            BatchLabels::Tokens { places, tokens } => {
                PackedLabels::tokens(places, tokens, &mut upload)
            }
        };
        places.push((inputs, labels));
    }
    let sent = upload.send(device)?;
    let batches = batches.iter().zip(places);
    let on_device = batches.map(|(batch, (inputs, labels))| {
        let mut inputs = inputs.of(batch.rows as i64, &sent)?;
        inputs.documents = batch.packed.clone().map(Documents::new);
        Ok((inputs, labels.of(&sent)?))
    });
    on_device.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_into_parts_of_about_one_size() {
        assert_eq!(part_rows(32, None, 1), 32);
        assert_eq!(part_rows(32, None, 3), 11);
        assert_eq!(part_rows(32, Some(32), 1), 32);
        assert_eq!(part_rows(33, Some(32), 1), 17);
        assert_eq!(part_rows(32, Some(14), 2), 11);
        assert_eq!(part_rows(32, Some(14), 4), 8);
    }

    #[test]
    fn an_example_longer_than_a_part_may_be_is_a_part_of_its_own() {
        assert_eq!(part_rows(4, Some(0), 1), 1);
        assert_eq!(part_rows(1, Some(0), 2), 1);
    }
}
