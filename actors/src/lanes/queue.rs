//! The queue of a group of lanes, and the jobs in it.
//!
//! Lanes of a [`LaneGroup`] take jobs from one short queue; a client whose group is busy waits in
//! line, first come first served. A job is cancelled by dropping the receiver of its reply.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::lanes::pool::{JobReport, JobRequest, PoolClosed};
use crate::workload::Workload;
use crate::workload::job::TrainTask;

/// A job on its way to a lane, or several that are trained together.
pub(crate) struct Job<W: Workload> {
    /// The jobs that somebody waits for.
    pub members: Vec<JobMember<W>>,
    /// What is trained together, in order, whether somebody waits for it or not; nothing where the
    /// job is trained alone.
    pub together: Vec<TrainTask<W::State>>,
    /// A place in the queue, free again as soon as a lane takes the job.
    pub place: OwnedSemaphorePermit,
}

/// A client's job, and where its end is reported.
pub(crate) struct JobMember<W: Workload> {
    pub request: JobRequest<W::State>,
    pub reply: oneshot::Sender<JobReport<W::Update>>,
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
            members: vec![JobMember { request, reply }],
            together: Vec::new(),
            place: place.map_err(|_| PoolClosed)?,
        };
        // With a place in hand the queue cannot be full: it refuses only when the lanes are gone.
        self.jobs.try_send(job).map_err(|_| PoolClosed)?;
        report.await.map_err(|_| PoolClosed)
    }

    /// Waits for a place in the queue for jobs that are trained together. Where the lanes ended
    /// before, those who wait for them hear of it, since nobody is left to reply.
    pub async fn train_together(
        &self,
        members: Vec<JobMember<W>>,
        together: Vec<TrainTask<W::State>>,
    ) {
        if let Ok(place) = self.places.clone().acquire_owned().await {
            // As above, it refuses only when the lanes are gone.
            let _ = self.jobs.try_send(Job {
                members,
                together,
                place,
            });
        }
    }
}
