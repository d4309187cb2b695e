//! What runs on a lane's thread.

use std::sync::Arc;
use std::time::Instant;

use actix::Recipient;
use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use crate::board::Board;
use crate::bus::Bus;
use crate::guard::guarded;
use crate::lane::{Job, JobFailure, JobReport};
use crate::lane_watch::LaneJobContext;
use crate::learner::{
    ClientTrainer, Digest, JobError, LaneId, Payload, TrainTask, Trained, Workload,
};
use crate::message::{Input, JobFaults, JobId};
use crate::random::StreamKey;
use crate::watchdog::Heartbeat;

/// One lane; [`LaneThread::run`] is its thread's main function.
pub(crate) struct LaneThread<L: Workload> {
    pub lane: LaneId,
    pub learner: Arc<L>,
    pub jobs: Receiver<Job<L>>,
    pub scheduler: Recipient<Input>,
    pub board: Arc<Board>,
    pub bus: Bus,
    /// Shows the watchdog that the lane makes progress.
    pub pulse: Arc<Heartbeat>,
}

/// A job's update with its digest, or why there is none.
type JobResult<U> = Result<(Trained<U>, Digest), JobFailure>;

impl<L: Workload> LaneThread<L> {
    /// Trains jobs until no client can send one any more, or no trainer can be had.
    pub fn run(self) {
        if let Err(reason) = self.serve() {
            let lane = self.lane;
            self.scheduler.do_send(Input::LaneFailed { lane, reason });
        }
    }

    fn serve(&self) -> Result<(), String> {
        let mut trainer = self.build()?;
        self.scheduler.do_send(Input::LaneReady(self.lane));
        for job in &self.jobs {
            drop(job.place);
            if job.reply.is_closed() {
                continue;
            }
            if self.job_panics(&mut trainer, job.stamp, job.script, job.task, job.reply) {
                // What it left half done must not reach the next job.
                guarded(move || drop(trainer)).unwrap_or_else(|reason| {
                    tracing::warn!("lane {}: the failed trainer's drop {reason}", self.lane.0);
                });
                trainer = self.build()?;
            }
        }
        Ok(())
    }

    /// Does a job and reports it. Says whether the trainer panicked.
    fn job_panics(
        &self,
        trainer: &mut L::ClientTrainer,
        stamp: JobId,
        script: JobFaults,
        task: TrainTask<L::Global>,
        mut reply: oneshot::Sender<JobReport<L::Update>>,
    ) -> bool {
        self.pulse.begin(stamp.client);
        let began = Instant::now();
        let mut watch = LaneJobContext::new(self, stamp, script, &mut reply);
        watch.begin();
        let result = guarded(|| self.work(trainer, &task, script, &mut watch));
        let (is_cut, work) = (watch.is_cut(), watch.work());
        self.pulse.end();
        // No lane keeps an old global state alive.
        drop(task);
        let panicked = result.is_err();
        let result = match result {
            // A trainer that finished in spite of it is not asked.
            _ if is_cut => Err(JobFailure::Interruption),
            Ok(result) => result,
            Err(reason) => Err(JobFailure::Failed(reason)),
        };
        // A client that is no longer there has no use for it.
        let _ = reply.send(JobReport {
            lane: self.lane,
            seconds: began.elapsed().as_secs_f64(),
            work,
            result,
        });
        panicked
    }

    fn build(&self) -> Result<L::ClientTrainer, String> {
        guarded(|| self.learner.trainer(self.lane))?.map_err(|error| error.to_string())
    }

    fn work(
        &self,
        trainer: &mut L::ClientTrainer,
        task: &TrainTask<L::Global>,
        script: JobFaults,
        watch: &mut LaneJobContext<'_, L>,
    ) -> JobResult<L::Update> {
        let mut trained = train_once_more(trainer, task, watch)?;
        if script.cut.is_some() {
            return Err(watch.cut());
        }
        if let Some((corruption, seed)) = script.corruption {
            let key = StreamKey {
                seed,
                purpose: "corruption",
                name: &task.client_name,
                round: task.round,
                attempt: task.attempt,
            };
            self.learner
                .corrupt(
                    &mut trained.update,
                    &task.global,
                    corruption,
                    &mut key.stream(),
                )
                .map_err(|error| JobFailure::Failed(error.to_string()))?;
        }
        let digest = trained.update.digest();
        Ok((trained, digest))
    }
}

/// Trains; after running out of memory, once more with less.
fn train_once_more<L: Workload>(
    trainer: &mut L::ClientTrainer,
    task: &TrainTask<L::Global>,
    watch: &mut LaneJobContext<'_, L>,
) -> Result<Trained<L::Update>, JobFailure> {
    let mut result = trainer.train(task, watch);
    if let Err(JobError::OutOfMemory(reason)) = &result {
        tracing::warn!(
            "client {} in round {}: out of device memory ({reason}); trying once more with less",
            task.client_name,
            task.round
        );
        trainer.relieve_memory();
        result = trainer.train(task, watch);
    }
    result.map_err(|error| match error {
        JobError::Cancelled => JobFailure::Cancelled,
        error => JobFailure::Failed(error.to_string()),
    })
}
