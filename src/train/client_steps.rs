//! A client's way through its round: the next batch, its gradients, the optimiser's step.

use std::rc::Rc;

use regatta_actors::random::StreamKey;
use regatta_actors::workload::job::Progress;
use tch::{Device, Tensor};

use crate::data::batch::{batches, epoch_order, group_by_length};
use crate::model::ModelError;
use crate::model::dropout::Masks;
use crate::model::loss::Loss;
use crate::train::client_round::{BatchPart, ClientRound, LocalResult, LocalTraining};
use crate::train::optimizers::adamw::AdamW;
use crate::train::optimizers::clip;
use crate::train::precision::{Compute, LossScale};
use crate::train::schedule::LinearSchedule;

/// See the module.
pub(crate) struct ClientSteps<'a> {
    training: &'a LocalTraining,
    job: &'a ClientRound<'a>,
    schedule: LinearSchedule,
    optimizer: AdamW,
    scale: Option<LossScale>,
    masks: Rc<Masks>,
    seen: LossSum,
    /// The examples of the present epoch, in order.
    order: Vec<u32>,
    done: u64,
    total: u64,
}

impl<'a> ClientSteps<'a> {
    /// A client before its first step, `place` among those that are trained together.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(
        training: &'a LocalTraining,
        job: &'a ClientRound<'a>,
        place: usize,
    ) -> Result<Self, ModelError> {
        let total = training.steps(job.shard.len());
        let dropout = StreamKey {
            purpose: "dropout",
            ..job.key
        };
        Ok(Self {
            training,
            job,
            schedule: LinearSchedule::new(training.lr, training.warmup_ratio, total),
            optimizer: AdamW::new(job.replica.leaves(), training.weight_decay)?,
            scale: LossScale::for_kind(job.compute.kind),
            masks: Rc::new(Masks::of_client(place, dropout.stream())),
            seen: LossSum::new(job.compute)?,
            order: Vec::new(),
            done: 0,
            total,
        })
    }

    /// The positions of the next step's examples; `None` after the last step.
    pub fn next_batch(&mut self) -> Option<Vec<u32>> {
        if self.done == self.total {
            return None;
        }
        let size = self.training.batch_size;
        let in_epoch = self.job.shard.len().div_ceil(size) as u64;
        let (epoch, batch) = (self.done / in_epoch, self.done % in_epoch);
        if batch == 0 {
            self.order = self.order_of(epoch);
        }
        let batch = batches(&self.order, size).nth(batch as usize);
        batch.map(<[u32]>::to_vec)
    }

    /// Its dropout masks.
    pub fn masks(&self) -> &Rc<Masks> {
        &self.masks
    }

    /// Counts a part's loss, and gives what its backward pass begins at.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn add_loss(&mut self, part: &BatchPart, loss: &Loss) -> Result<Tensor, ModelError> {
        let batch = &part.batch;
        self.seen
            .add(&loss.mean, batch.labels.len(), batch.examples())?;
        let share = loss.graph.f_mul_scalar(part.share)?;
        match &self.scale {
            Some(scale) => scale.apply(&share),
            None => Ok(share),
        }
    }

    /// The optimiser's step by the gradients of all parts; none if they overflowed.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn finish_step(&mut self) -> Result<(), ModelError> {
        let leaves = || self.job.replica.leaves();
        let is_sound = match &mut self.scale {
            Some(scale) => scale.unscale(leaves())?,
            None => true,
        };
        if is_sound {
            if let Some(most) = self.training.max_grad_norm {
                clip::to_norm(leaves(), most)?;
            }
            self.optimizer.step(self.schedule.rate(self.done))?;
        } else {
            self.optimizer.clear()?;
        }
        self.done += 1;
        Ok(())
    }

    /// How far it is.
    ///
    /// # Errors
    /// If the device fails.
    pub fn progress(&self) -> Result<Progress, ModelError> {
        Ok(Progress {
            steps_done: self.done,
            steps_total: self.total,
            examples: self.seen.examples,
            loss: self.seen.cheap_mean()?,
        })
    }

    /// What came of the round.
    ///
    /// # Errors
    /// If the device fails.
    pub fn result(&self) -> Result<LocalResult, ModelError> {
        Ok(LocalResult {
            loss: self.seen.mean()?,
            examples: self.seen.examples,
            steps: self.done,
        })
    }

    /// The shard's positions in one epoch's order, like lengths together.
    fn order_of(&self, epoch: u64) -> Vec<u32> {
        let job = self.job;
        if !self.training.shuffle {
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
        group_by_length(&mut order, self.training.batch_size, length, key);
        order
    }
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
