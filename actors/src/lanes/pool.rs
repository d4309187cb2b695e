//! Where clients' jobs are trained.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use crate::ids::{Digest, JobId, LaneId};
use crate::lanes::seat::GroupSeat;
use crate::lanes::watchdog::Heartbeat;
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::observe::control::DrainOrder;
use crate::observe::hosts::HostBoard;
use crate::plan::FederationPlan;
use crate::protocol::input::Input;
use crate::protocol::job::{JobFaults, Work};
use crate::protocol::outcome::RunError;
use crate::workload::Workload;
use crate::workload::job::{JobError, TrainTask, Trained};

/// Trains clients' jobs on whatever lanes it has. Which lane does a job changes no bit of its
/// result.
pub trait LanePool<W: Workload>: Send + Sync {
    /// Trains a job when a lane is free for it. Dropping this cancels the job.
    fn train(&self, job: JobRequest<W::State>) -> JobFuture<W::Update>;
}

/// The end of a job.
pub type JobFuture<U> = Pin<Box<dyn Future<Output = Result<JobReport<U>, PoolClosed>> + Send>>;

/// A job for a pool of lanes.
#[derive(Debug)]
pub struct JobRequest<S> {
    /// Which job.
    pub id: JobId,
    /// What is to go wrong with it.
    pub faults: JobFaults,
    /// The lane that the client has to itself, if it has one.
    pub own_lane: Option<LaneId>,
    /// Its place in the group that it is trained with, if it is not trained alone.
    pub(crate) group: Option<GroupSeat>,
    /// The work.
    pub task: TrainTask<S>,
}

/// The result of a job.
#[derive(Debug)]
pub struct JobReport<U> {
    /// The lane that did it.
    pub lane: LaneId,
    /// Wall seconds on the lane.
    pub seconds: f64,
    /// The work done before it ended.
    pub work: Work,
    /// The update and its digest, or why there is none.
    pub result: JobResult<U>,
}

/// A job's update with its digest, or why there is none.
pub type JobResult<U> = Result<(Trained<U>, Digest), JobFailure>;

/// The reason that a job gave no update, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobFailure {
    /// Nobody waits for it any more.
    Cancelled,
    /// It came to where the plan interrupts it.
    Interruption,
    /// The device has too little memory for it.
    OutOfMemory(String),
    /// The lane's device is lost, and the lane with it.
    DeviceLost(String),
    /// Anything else.
    Failed(String),
}

impl From<JobError> for JobFailure {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Cancelled => Self::Cancelled,
            JobError::OutOfMemory(_) => Self::OutOfMemory(error.to_string()),
            JobError::DeviceLost(_) => Self::DeviceLost(error.to_string()),
            JobError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

/// No lane is left, and none will come.
#[derive(Debug)]
pub struct PoolClosed;

/// Starts a pool's lanes.
pub(crate) trait StartLanes<W: Workload>: Send {
    /// Starts the lanes. `threads` gets what is to be joined when the pool is dropped, also if this
    /// fails half way.
    ///
    /// # Errors
    /// If a thread cannot be started.
    fn start(
        self: Box<Self>,
        run: PoolContext<W>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<StartedLanes<W>, RunError>;
}

/// A pool that is up.
pub(crate) struct StartedLanes<W: Workload> {
    pub pool: Arc<dyn LanePool<W>>,
    /// Of the lanes of this process, by their numbers.
    pub heartbeats: Vec<Arc<Heartbeat>>,
}

/// What a pool is told of the run that it trains for.
pub(crate) struct PoolContext<W> {
    pub plan: Arc<FederationPlan>,
    pub workload: Arc<W>,
    /// Tells the scheduler what became of lanes.
    pub report: Arc<dyn Fn(Input) + Send + Sync>,
    pub board: Arc<Board>,
    pub hosts: Arc<HostBoard>,
    /// Hosts that somebody wants to do no more jobs.
    pub drains: mpsc::UnboundedReceiver<DrainOrder>,
    /// Whether the run is to end after its round.
    pub finishing: watch::Receiver<bool>,
    pub bus: Bus,
}
