//! The queue of a group of lanes, and the jobs in it.
//!
//! Lanes of a [`LaneGroup`] take jobs from one short queue; a client whose group is busy waits in
//! line, first come first served. A job is cancelled by dropping the receiver of its reply.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::ids::{Digest, JobId, LaneId};
use crate::protocol::job::{JobFaults, Work};
use crate::workload::Workload;
use crate::workload::job::{TrainTask, Trained};

/// A job on its way to a lane.
pub(crate) struct Job<L: Workload> {
    pub id: JobId,
    pub faults: JobFaults,
    pub task: TrainTask<L::State>,
    pub reply: oneshot::Sender<JobReport<L::Update>>,
    /// A place in the queue, free again as soon as a lane takes the job.
    pub place: OwnedSemaphorePermit,
}

/// The result of a job.
pub(crate) struct JobReport<U> {
    pub lane: LaneId,
    /// Wall seconds on the lane.
    pub seconds: f64,
    /// The work done before it ended.
    pub work: Work,
    pub result: Result<(Trained<U>, Digest), JobFailure>,
}

/// The reason that a job gave no update, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobFailure {
    Cancelled,
    /// It came to where the plan interrupts it.
    Interruption,
    Failed(String),
}

/// No lane of the group is left.
#[derive(Debug)]
pub(crate) struct LanesGone;

/// The queue of one or more lanes; cheap to clone.
pub(crate) struct LaneGroup<L: Workload> {
    jobs: Sender<Job<L>>,
    places: Arc<Semaphore>,
}

impl<L: Workload> Clone for LaneGroup<L> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            places: self.places.clone(),
        }
    }
}

impl<L: Workload> LaneGroup<L> {
    /// The queue of `lanes` lanes, with a place for each of them: the next job is ready when
    /// one is done.
    pub fn new(lanes: usize) -> (Self, Receiver<Job<L>>) {
        let (jobs, receiver) = bounded(lanes);
        let places = Arc::new(Semaphore::new(lanes));
        (Self { jobs, places }, receiver)
    }

    /// Waits for a place in the queue, then for the job's end. Dropping this cancels the job.
    ///
    /// # Errors
    /// If the lanes ended before the job did.
    pub async fn train(
        &self,
        id: JobId,
        faults: JobFaults,
        task: TrainTask<L::State>,
    ) -> Result<JobReport<L::Update>, LanesGone> {
        let place = self.places.clone().acquire_owned().await;
        let (reply, report) = oneshot::channel();
        let job = Job {
            id,
            faults,
            task,
            reply,
            place: place.map_err(|_| LanesGone)?,
        };
        // With a place in hand the queue cannot be full: it refuses only when the lanes are gone.
        self.jobs.try_send(job).map_err(|_| LanesGone)?;
        report.await.map_err(|_| LanesGone)
    }
}
