//! The queue of a group of lanes, and the jobs in it.
//!
//! Lanes of a [`LaneGroup`] take jobs from one short queue; a client whose group is busy waits in
//! line, first come first served. A job is cancelled by dropping the receiver of its reply.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::lanes::pool::{JobReport, JobRequest, PoolClosed};
use crate::workload::Workload;

/// A job on its way to a lane.
pub(crate) struct Job<W: Workload> {
    pub request: JobRequest<W::State>,
    pub reply: oneshot::Sender<JobReport<W::Update>>,
    /// A place in the queue, free again as soon as a lane takes the job.
    pub place: OwnedSemaphorePermit,
}

/// The queue of one or more lanes; cheap to clone.
pub(crate) struct LaneGroup<W: Workload> {
    jobs: Sender<Job<W>>,
    places: Arc<Semaphore>,
}

impl<W: Workload> Clone for LaneGroup<W> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            places: self.places.clone(),
        }
    }
}

impl<W: Workload> LaneGroup<W> {
    /// The queue of `lanes` lanes, with a place for each of them: the next job is ready when
    /// one is done.
    pub fn new(lanes: usize) -> (Self, Receiver<Job<W>>) {
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
        request: JobRequest<W::State>,
    ) -> Result<JobReport<W::Update>, PoolClosed> {
        let place = self.places.clone().acquire_owned().await;
        let (reply, report) = oneshot::channel();
        let job = Job {
            request,
            reply,
            place: place.map_err(|_| PoolClosed)?,
        };
        // With a place in hand the queue cannot be full: it refuses only when the lanes are gone.
        self.jobs.try_send(job).map_err(|_| PoolClosed)?;
        report.await.map_err(|_| PoolClosed)
    }
}
