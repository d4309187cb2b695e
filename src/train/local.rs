//! One client's round: epochs over its shard, from the server's state to an update.

use std::ops::ControlFlow;

use regatta_actors::random::StreamKey;
use regatta_actors::workload::job::{JobContext, Progress};
use tch::{Device, Tensor};

use crate::data::batch::{Batch, BatchLabels, batches, epoch_order, group_by_length};
use crate::data::encoded::EncodedSplit;
use crate::data::packing::first_fit;
use crate::model::ModelError;
use crate::model::documents::Documents;
use crate::model::dropout::Masks;
use crate::model::inputs::{Inputs, Upload};
use crate::model::loss::{Labels, Loss, PackedLabels};
use crate::train::optimizers::adamw::AdamW;
use crate::train::optimizers::clip;
use crate::train::precision::{Compute, LossScale};
use crate::train::replica::Replica;
use crate::train::schedule::LinearSchedule;

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

    /// Trains a client's round. `None` if `context` stopped it.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn run(
        &self,
        job: &ClientRound<'_>,
        context: &mut dyn JobContext,
    ) -> Result<Option<LocalResult>, ModelError> {
        let steps_total = self.steps(job.shard.len());
        let schedule = LinearSchedule::new(self.lr, self.warmup_ratio, steps_total);
        let mut optimizer = AdamW::new(job.replica.leaves(), self.weight_decay)?;
        let mut scale = LossScale::for_kind(job.compute.kind);
        let masks = Masks::new(
            StreamKey {
                purpose: "dropout",
                ..job.key
            }
            .stream(),
        );
        let mut seen = LossSum::new(job.compute)?;
        let mut steps = 0;
        for epoch in 0..self.epochs {
            let order = self.order(job, epoch);
            for positions in batches(&order, self.batch_size) {
                let smoothing = self.label_smoothing;
                if job.gradients(positions, &masks, smoothing, scale.as_mut(), &mut seen)? {
                    if let Some(most) = self.max_grad_norm {
                        clip::to_norm(job.replica.leaves(), most)?;
                    }
                    optimizer.step(schedule.rate(steps))?;
                } else {
                    optimizer.clear()?;
                }
                steps += 1;
                let (examples, loss) = (seen.examples, seen.cheap_mean()?);
                let progress = Progress {
                    steps_done: steps,
                    steps_total,
                    examples,
                    loss,
                };
                if let ControlFlow::Break(()) = context.step(progress) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(LocalResult {
            loss: seen.mean()?,
            examples: seen.examples,
            steps,
        }))
    }

    /// The shard's positions in one epoch's order, like lengths together.
    fn order(&self, job: &ClientRound<'_>, epoch: u32) -> Vec<u32> {
        if !self.shuffle {
            return job.shard.to_vec();
        }
        let purpose = format!("shuffle epoch {epoch}");
        let order = epoch_order(
            job.shard.len(),
            StreamKey {
                purpose: &purpose,
                ..job.key
            },
        );
        let mut order: Vec<u32> = order.into_iter().map(|i| job.shard[i as usize]).collect();
        let length = |position: u32| job.split.ids(position as usize).len();
        let purpose = format!("batches epoch {epoch}");
        let key = StreamKey {
            purpose: &purpose,
            ..job.key
        };
        group_by_length(&mut order, self.batch_size, length, key);
        order
    }
}

impl ClientRound<'_> {
    /// Gathers the gradients of one batch; false when they overflowed and the step is to be
    /// skipped.
    fn gradients(
        &self,
        positions: &[u32],
        masks: &Masks,
        smoothing: f64,
        scale: Option<&mut LossScale>,
        seen: &mut LossSum,
    ) -> Result<bool, ModelError> {
        let rows = self.rows(positions);
        let longest = rows.iter().map(|row| self.tokens(row)).max().unwrap_or(0);
        let most = self.part_tokens.map(|tokens| tokens / longest.max(1));
        let targets = |some: &[u32]| -> usize {
            let of = |position: &u32| self.split.num_targets(*position as usize);
            some.iter().map(of).sum()
        };
        let all = targets(positions) as f64;
        for part in rows.chunks(part_rows(rows.len(), most, self.micro_batches)) {
            let batch = match self.row_tokens {
                None => Batch::gather(self.split, &part.concat(), self.pad),
                Some(_) => Batch::gather_packed(self.split, part, self.pad),
            };
            let loss = self.loss(&batch, masks, smoothing)?;
            let own = batch.labels.len();
            seen.add(&loss.mean, own, batch.examples())?;
            let mut share = loss.graph.f_mul_scalar(own as f64 / all)?;
            if let Some(scale) = &scale {
                share = scale.apply(&share)?;
            }
            self.replica.backward(&share)?;
        }
        scale.map_or(Ok(true), |scale| scale.unscale(self.replica.leaves()))
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

    fn loss(&self, batch: &Batch, masks: &Masks, smoothing: f64) -> Result<Loss, ModelError> {
        let (inputs, labels) = on_device(batch, self.compute.device)?;
        let autocast = self.compute.autocast()?;
        let outputs = self.replica.model.outputs(&inputs, Some(masks))?;
        // Logits of tokens are a product like a layer's; a classifier's are outputs already.
        let _narrow = match labels {
            Labels::Tokens { .. } => autocast,
            Labels::Rows(_) | Labels::Sets(_) => None,
        };
        self.replica.model.loss(&outputs, &labels, smoothing)
    }
}

/// Examples of each part of a batch, of about one size: at most `most`, where that is given, and in
/// at least N parts.
fn part_rows(rows: usize, most: Option<usize>, parts: usize) -> usize {
    let fitting = most.map_or(1, |most| rows.div_ceil(most.max(1)));
    rows.div_ceil(parts.max(fitting).max(1)).max(1)
}

/// A batch and its labels on the device, by one copy.
pub(crate) fn on_device(batch: &Batch, device: Device) -> Result<(Inputs, Labels), ModelError> {
    let mut upload = Upload::default();
    let inputs = upload.inputs(
        &batch.input_ids,
        &batch.attention_mask,
        &batch.token_type_ids,
    );
    let labels = match &batch.labels {
        BatchLabels::Rows(labels) => PackedLabels::rows(labels, &mut upload),
        BatchLabels::Sets { values, labels } => PackedLabels::sets(values, *labels, &mut upload),
        BatchLabels::Tokens { places, tokens } => PackedLabels::tokens(places, tokens, &mut upload),
    };
    let sent = upload.send(device)?;
    let mut inputs = inputs.of(batch.rows as i64, &sent)?;
    inputs.documents = batch.packed.clone().map(Documents::new);
    Ok((inputs, labels.of(&sent)?))
}

/// A sum of losses that stays on the device, so that a GPU is queried once a round.
struct LossSum {
    sum: Tensor,
    on_host: bool,
    targets: u64,
    examples: u64,
}

impl LossSum {
    fn new(compute: Compute) -> Result<Self, ModelError> {
        let sum = Tensor::f_zeros([], (tch::Kind::Double, compute.device))?;
        Ok(Self {
            sum,
            on_host: compute.device == Device::Cpu,
            targets: 0,
            examples: 0,
        })
    }

    /// Adds a mean over `targets`, which are those of `rows` examples.
    fn add(&mut self, mean: &Tensor, targets: usize, rows: usize) -> Result<(), ModelError> {
        let total = mean
            .f_to_kind(tch::Kind::Double)?
            .f_mul_scalar(targets as f64)?;
        self.sum = self.sum.f_add(&total)?;
        self.targets += targets as u64;
        self.examples += rows as u64;
        Ok(())
    }

    fn mean(&self) -> Result<f64, ModelError> {
        Ok(self.sum.f_double_value(&[])? / self.targets.max(1) as f64)
    }

    /// The mean where it costs nothing to know.
    fn cheap_mean(&self) -> Result<Option<f64>, ModelError> {
        if self.on_host {
            self.mean().map(Some)
        } else {
            Ok(None)
        }
    }
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
