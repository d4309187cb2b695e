//! The traits that a workload implements: what a client trains, and how the server aggregates.
//!
//! The actors know nothing of tensors. They move two kinds of payload, a [`Workload::State`] down
//! and a [`Workload::Update`] up, and call the workload's two parts: a [`ClientTrainer`] on each
//! device lane and one [`ServerAggregator`] on the server's thread.

pub mod job;
pub mod update;

use std::sync::Arc;

use crate::ids::{Digest, LaneId};
use crate::plan::fault::Corruption;
use crate::random::Stream;
use crate::workload::job::{JobContext, JobError, TrainResult, TrainTask};
use crate::workload::update::{AggregateResult, BoxError, Contribution, Payload, Scores};

/// What the federation trains, as lanes see it. Shared by all threads; builds the trainers inside
/// theirs.
pub trait Workload: Sized + Send + Sync + 'static {
    /// The server's state as clients get it. Handed to lanes by reference, never copied.
    type State: Payload;
    /// The update that a client sends back.
    type Update: Payload;
    /// Trains clients' jobs on one lane; need not be `Send`, since it never leaves its thread.
    type Trainer: ClientTrainer<Self>;

    /// Builds a lane's trainer. Called on the lane's own thread, again after the lane failed.
    ///
    /// # Errors
    /// If the device or the model is unavailable; the lane does not start.
    fn trainer(&self, lane: LaneId) -> Result<Self::Trainer, BoxError>;

    /// What a lane's device is called, for people; empty: it has no name.
    fn device(&self, lane: LaneId) -> String {
        let _ = lane;
        String::new()
    }

    /// Corrupts an update that was trained from `start`, as a scripted fault has it, before it is
    /// sent. Called on a lane's thread.
    /// The result may depend on nothing but the arguments; draws come from `stream`.
    ///
    /// # Errors
    /// If the workload has no such way to corrupt an update; the client's job then fails.
    fn corrupt(
        &self,
        update: &mut Self::Update,
        start: &Self::State,
        corruption: Corruption,
        stream: &mut Stream,
    ) -> Result<(), BoxError> {
        let _ = (update, start, stream);
        Err(format!("this workload cannot corrupt an update ({corruption:?})").into())
    }
}

/// A workload with its server's side.
pub trait ServerWorkload: Workload {
    /// Aggregates and evaluates on the server's thread.
    type Aggregator: ServerAggregator<Self>;

    /// Builds the server's aggregator, at its state before the first round. Called on the server's
    /// own thread.
    ///
    /// # Errors
    /// If the device or the model is unavailable.
    fn aggregator(&self) -> Result<Self::Aggregator, BoxError>;
}

/// Trains clients' jobs, one at a time, on one device.
pub trait ClientTrainer<W: Workload> {
    /// Trains one client's round from `task.state`. The result depends on the task alone: not on
    /// the lane, nor on what ran there before.
    ///
    /// # Errors
    /// See [`JobError`]. A panic is caught by the lane, which then builds a new trainer.
    fn train(
        &mut self,
        task: &TrainTask<W::State>,
        context: &mut dyn JobContext,
    ) -> TrainResult<W::Update>;

    /// Trains several clients' rounds of one state together, a step of each at a time, with a context
    /// for each. The results, in their order, depend on all the tasks, and on nothing else. By default,
    /// one after the other.
    ///
    /// # Errors
    /// What concerns them all; the lane then trains them one after the other.
    fn train_together(
        &mut self,
        tasks: &[TrainTask<W::State>],
        contexts: &mut [&mut dyn JobContext],
    ) -> Result<Vec<TrainResult<W::Update>>, JobError> {
        let tasks = tasks.iter().zip(contexts);
        Ok(tasks
            .map(|(task, context)| self.train(task, *context))
            .collect())
    }

    /// Does a small job of the run's own, always the same, and gives the digest of its result. Lanes
    /// of other hosts may train only where it is the same as here: last bits depend on the kind of
    /// processor, on the instructions that libraries choose, and on their versions. By default,
    /// every host will do.
    ///
    /// # Errors
    /// If the job fails.
    fn canary(&mut self) -> Result<Digest, BoxError> {
        Ok(Digest::of(&[]))
    }

    /// Called after [`JobError::OutOfMemory`], before the job is tried once more: free caches and
    /// halve the micro-batch.
    fn relieve_memory(&mut self) {}
}

/// Aggregates updates and evaluates the result; owns the global state.
pub trait ServerAggregator<W: Workload> {
    /// The state that clients start the next round from.
    fn state(&self) -> Arc<W::State>;

    /// Bytes that a client must download for the current state, given the last round whose
    /// starting state it holds (`None`: it has only the pretrained model). By default, none.
    fn download_bytes(&self, held_version: Option<u32>) -> u64 {
        let _ = held_version;
        0
    }

    /// Bytes that an update takes on the wire. By default, none.
    fn upload_bytes(&self, update: &W::Update) -> u64 {
        let _ = update;
        0
    }

    /// No update that started from the state of a round before `round` will come any more; what is
    /// kept only for such updates can go.
    fn forget_before(&mut self, round: u32) {
        let _ = round;
    }

    /// Aggregates a round's updates, given in client order with at most one from each client, into
    /// the global state. Updates that do not fit are refused one by one, not the round. With
    /// nothing left to aggregate the state stays.
    ///
    /// # Errors
    /// Only what makes continuing impossible.
    fn aggregate(&mut self, round: u32, updates: Vec<Contribution<W::Update>>) -> AggregateResult;

    /// Scores the global state on held-out data. By default, there are no scores.
    ///
    /// # Errors
    /// If evaluation fails as a whole.
    fn evaluate(&mut self, round: u32) -> Result<Scores, BoxError> {
        let _ = round;
        Ok(Scores::new())
    }

    /// Called once, after the last round: writes the run's results (the final model,
    /// predictions). `predicted` is to be told now and then how many examples are predicted, of how
    /// many.
    ///
    /// # Errors
    /// If something cannot be written; the run then fails with it.
    fn finish(&mut self, predicted: &(dyn Fn(u64, u64) + Sync)) -> Result<(), BoxError> {
        let _ = predicted;
        Ok(())
    }

    /// The server's whole state, for a checkpoint: [`ServerAggregator::restore`] of it on a new
    /// aggregator produces the same bits from then on.
    ///
    /// # Errors
    /// If the state cannot be read back from the device, and always if not implemented; a run
    /// that is to be saved then fails.
    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        Err("this workload's state cannot be saved".into())
    }

    /// Restores a state that [`ServerAggregator::checkpoint`] returned.
    ///
    /// # Errors
    /// If it is not such a state, or of another model.
    fn restore(&mut self, state: &[u8]) -> Result<(), BoxError> {
        let _ = state;
        Err("this workload's state cannot be restored".into())
    }
}
