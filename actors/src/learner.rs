//! The traits that a learner implements: what a client trains, and what the server folds.
//!
//! The actors know nothing of tensors. They move two kinds of payload, a [`Workload::Global`] down
//! and a [`Workload::Update`] up, and call the learner's two workers: a [`ClientTrainer`] on each device
//! lane and one [`ServerAggregator`] on the server's thread.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::fault::Corruption;
use crate::random::Stream;

/// A client's number, from 0, stable through the run. Updates are folded in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lane's number, from 0: one OS thread that owns one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u32);

/// A BLAKE3 digest, written as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

/// Any error of a learner, with its context.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can travel between server and clients: plain data with a size and a digest.
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Identifies the content bit for bit; goes into the ledger. If not told otherwise, it is the
    /// digest of the content as MessagePack.
    fn digest(&self) -> Digest {
        // What cannot be written has the digest of nothing, and fails where it is sent or saved.
        Digest::of(&rmp_serde::to_vec(self).unwrap_or_default())
    }
}

/// What the federation learns. Shared by all threads; builds the workers inside theirs.
pub trait Workload: Send + Sync + 'static {
    /// The server's state as clients get it. Handed to lanes by reference, never copied.
    type Global: Payload;
    /// What a client sends back.
    type Update: Payload;
    /// Trains clients' jobs on one lane; need not be `Send`, since it never leaves its thread.
    type ClientTrainer: ClientTrainer<Global = Self::Global, Update = Self::Update>;
    /// Aggregates and evaluates on the server's thread.
    type ServerAggregator: ServerAggregator<Global = Self::Global, Update = Self::Update>;

    /// Builds a lane's trainer. Called on the lane's own thread, again after the lane failed.
    ///
    /// # Errors
    /// When the device or the model cannot be had; the lane then never starts.
    fn trainer(&self, lane: LaneId) -> Result<Self::ClientTrainer, BoxError>;

    /// Builds the server's worker, at its state before the first round. Called on the server's
    /// own thread.
    ///
    /// # Errors
    /// When the device or the model cannot be had.
    fn folder(&self) -> Result<Self::ServerAggregator, BoxError>;

    /// Spoils an update that was trained from `start` as a scripted fault has it, before it is
    /// sent. Called on a lane's thread.
    /// What it does may depend on nothing but its arguments; draws come from `stream`.
    ///
    /// # Errors
    /// When the learner has no such way to corrupt an update; the client's job then fails.
    fn corrupt(
        &self,
        update: &mut Self::Update,
        start: &Self::Global,
        corruption: Corruption,
        stream: &mut Stream,
    ) -> Result<(), BoxError> {
        let _ = (update, start, stream);
        Err(format!("this learner cannot corrupt an update ({corruption:?})").into())
    }
}

/// One client's work of one round, as a lane gets it.
#[derive(Debug)]
pub struct TrainTask<G> {
    /// Whose shard to train on.
    pub client: ClientId,
    /// The client's name, which keys its random streams.
    pub client_name: Arc<str>,
    /// The round, from 1.
    pub round: u32,
    /// The attempt within the round, from 0: a retried job draws anew.
    pub attempt: u32,
    /// The state to start from.
    pub global: Arc<G>,
}

/// What a client's work of one round gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trained<U> {
    /// What goes to the server.
    pub update: U,
    /// Mean training loss over the examples of the round.
    pub loss: f64,
    /// Examples seen (an example seen in two epochs counts twice).
    pub examples: u64,
    /// Optimiser steps taken.
    pub steps: u64,
}

impl<U> Trained<U> {
    /// An update with what is to be known of it.
    pub fn new(update: U, loss: f64, examples: u64, steps: u64) -> Self {
        Self {
            update,
            loss,
            examples,
            steps,
        }
    }
}

/// How far a job is; sent after each batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimiser steps done.
    pub steps_done: u64,
    /// Optimiser steps in all.
    pub steps_total: u64,
    /// Examples seen so far.
    pub examples: u64,
    /// Mean training loss over these examples, if it is known yet.
    pub loss: Option<f64>,
}

impl Progress {
    /// Progress with a known loss.
    #[must_use]
    pub fn new(steps_done: u64, steps_total: u64, examples: u64, loss: f64) -> Self {
        Self {
            steps_done,
            steps_total,
            examples,
            loss: Some(loss),
        }
    }
}

/// Why a job gave no update.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// [`JobContext::step`] asked it to stop.
    #[error("cancelled")]
    Cancelled,
    /// The device ran out of memory. The lane may try again with half the micro-batch.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// Anything else that concerns this job alone.
    #[error("{0}")]
    Failed(#[source] BoxError),
}

/// What [`ClientTrainer::train`] gives.
pub type TrainResult<U> = Result<Trained<U>, JobError>;

/// A job's line to its lane: reports progress, and says whether to go on.
pub trait JobContext {
    /// To be called after each batch; `Break` means: return [`JobError::Cancelled`] now.
    fn step(&mut self, progress: Progress) -> ControlFlow<()>;

    /// The same as [`JobContext::step`], as an error to pass on.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] when the job is to stop.
    fn report(&mut self, progress: Progress) -> Result<(), JobError> {
        match self.step(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JobError::Cancelled),
        }
    }
}

/// Trains clients' jobs, one at a time, on one device.
pub trait ClientTrainer {
    /// See [`Workload::Global`].
    type Global;
    /// See [`Workload::Update`].
    type Update;

    /// Trains one client's round from `task.global`. The result depends on the task alone: not on
    /// the lane, nor on what ran there before.
    ///
    /// # Errors
    /// See [`JobError`]. A panic is caught by the lane, which then builds its trainer anew.
    fn train(
        &mut self,
        task: &TrainTask<Self::Global>,
        watch: &mut dyn JobContext,
    ) -> TrainResult<Self::Update>;

    /// Called after [`JobError::OutOfMemory`], before the job is tried once more: free caches and
    /// halve the micro-batch for the next job.
    fn relieve_memory(&mut self) {}
}

/// One update that takes part in an aggregation.
#[derive(Debug)]
pub struct Contribution<U> {
    /// Who sent it.
    pub client: ClientId,
    /// The round whose global state it was trained from (equal to the current round unless
    /// aggregation is asynchronous).
    pub base_round: u32,
    /// What it weighs before normalisation (staleness discount, say); the folder multiplies by
    /// examples where that is its rule and normalises over those that it accepts.
    pub weight: f64,
    /// Examples it was trained on.
    pub examples: u64,
    /// The update.
    pub update: U,
}

/// An update that the server would not fold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose it was.
    pub client: ClientId,
    /// What was wrong with it.
    pub reason: String,
}

/// What an aggregation did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregation {
    /// ‖effective − ideal‖_F / ‖ideal update‖_F over all adapted layers; `None` when the learner
    /// has no such notion or nothing was folded.
    pub exactness_error: Option<f64>,
    /// Digest of the global state after it.
    pub state_digest: Digest,
    /// Updates refused, by client.
    pub refused: Vec<Refusal>,
}

impl Aggregation {
    /// An aggregation that refused nothing and whose exactness is not measured.
    pub fn of(state: &impl Payload) -> Self {
        Self {
            exactness_error: None,
            state_digest: state.digest(),
            refused: Vec::new(),
        }
    }
}

/// What [`ServerAggregator::aggregate`] gives.
pub type AggregateResult = Result<Aggregation, BoxError>;

/// Names and values of the scores of one evaluation (`loss`, `accuracy`, …).
pub type Scores = BTreeMap<String, f64>;

/// Aggregates updates and evaluates the result; owns the global state.
pub trait ServerAggregator {
    /// See [`Workload::Global`].
    type Global;
    /// See [`Workload::Update`].
    type Update;

    /// The state that clients start the next round from.
    fn global(&self) -> Arc<Self::Global>;

    /// Bytes that a client must download for the current state, given the last round whose
    /// starting state it holds (`None`: it has only the pretrained model). If not told otherwise,
    /// none.
    fn download_bytes(&self, holds_round: Option<u32>) -> u64 {
        let _ = holds_round;
        0
    }

    /// Bytes that an update takes on the wire. If not told otherwise, none.
    fn upload_bytes(&self, update: &Self::Update) -> u64 {
        let _ = update;
        0
    }

    /// No update that started from the state of a round before `round` will come any more; what is
    /// kept only for such updates can go.
    fn forget_before(&mut self, round: u32) {
        let _ = round;
    }

    /// Folds a round's updates, given in client order with at most one from each client, into the
    /// global state. Updates that do not fit are refused one by one, not the round. With nothing
    /// left to fold the state stays.
    ///
    /// # Errors
    /// Only what makes going on impossible.
    fn aggregate(
        &mut self,
        round: u32,
        updates: Vec<Contribution<Self::Update>>,
    ) -> AggregateResult;

    /// Scores the global state on held-out data. If not told otherwise, there are no scores.
    ///
    /// # Errors
    /// When evaluation fails as a whole.
    fn evaluate(&mut self, round: u32) -> Result<Scores, BoxError> {
        let _ = round;
        Ok(Scores::new())
    }

    /// Called once, after the last round: writes what the run leaves behind (the final model,
    /// predictions).
    ///
    /// # Errors
    /// When something cannot be written; the run then fails with it.
    fn finish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// The server's whole state, for a checkpoint: [`ServerAggregator::restore`] of it on a new folder
    /// gives the same bits ever after.
    ///
    /// # Errors
    /// When the state cannot be read back from the device, and always if not implemented; a run
    /// that is to be saved then fails.
    fn checkpoint(&self) -> Result<Vec<u8>, BoxError> {
        Err("this learner's state cannot be saved".into())
    }

    /// Takes up a state that [`ServerAggregator::checkpoint`] gave.
    ///
    /// # Errors
    /// When it is not such a state, or of another model.
    fn restore(&mut self, state: &[u8]) -> Result<(), BoxError> {
        let _ = state;
        Err("this learner's state cannot be taken up".into())
    }
}
