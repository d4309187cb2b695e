//! A client's job: its input, its result, and its progress reports.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::update::BoxError;
use crate::ids::ClientId;

/// One client's work of one round, as a lane gets it.
#[derive(Debug)]
pub struct TrainTask<S> {
    /// The client whose shard to train on.
    pub client: ClientId,
    /// The client's name, which keys its random streams.
    pub client_name: Arc<str>,
    /// The round, from 1.
    pub round: u32,
    /// The attempt within the round, from 0: a retried job draws again.
    pub attempt: u32,
    /// The state to start from.
    pub state: Arc<S>,
}

/// The result of a client's round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trained<U> {
    /// The update to send to the server.
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

/// The progress of a job; sent after each batch.
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

/// The reason that a job gave no update.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// [`JobContext::step`] asked it to stop.
    #[error("cancelled")]
    Cancelled,
    /// The device ran out of memory. The lane may try again with half the micro-batch.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// The device does nothing more in this process: no job of any client can succeed on it.
    #[error(transparent)]
    DeviceLost(#[from] DeviceLost),
    /// Anything else that concerns this job alone.
    #[error("{0}")]
    Failed(#[source] BoxError),
}

/// A device does nothing more for this process; another process may use it. The reason is that of the
/// first operation that noticed, which need not be the one that broke it. A server that returns this
/// as its error is not built again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device is lost: {0}")]
pub struct DeviceLost(pub String);

/// The result of [`ClientTrainer::train`](super::ClientTrainer::train).
pub type TrainResult<U> = Result<Trained<U>, JobError>;

/// A job's connection to its lane: reports progress and says whether to continue.
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
