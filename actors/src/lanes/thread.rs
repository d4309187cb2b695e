//! The code that runs on a lane's thread.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use crate::ids::{Digest, JobId};
use crate::lanes::progress::{LaneJobContext, LaneSignals};
use crate::lanes::queue::{Job, JobFailure, JobReport};
use crate::panics::guarded;
use crate::protocol::input::Input;
use crate::protocol::job::JobFaults;
use crate::random::StreamKey;
use crate::workload::job::{JobError, TrainTask, Trained};
use crate::workload::update::Payload;
use crate::workload::{ClientTrainer, Workload};

/// One lane; [`LaneThread::run`] is its thread's main function.
pub(crate) struct LaneThread<L: Workload> {
    pub signals: LaneSignals,
    pub workload: Arc<L>,
    pub jobs: Receiver<Job<L>>,
    pub report: LaneReports,
}

/// The callback by which lanes report that they are ready or gone.
pub(crate) type LaneReports = Arc<dyn Fn(Input) + Send + Sync>;

/// A job's update with its digest, or why there is none.
type JobResult<U> = Result<(Trained<U>, Digest), JobFailure>;

impl<L: Workload> LaneThread<L> {
    /// Trains jobs until no client can send any more, or no trainer can be built.
    pub fn run(self) {
        if let Err(reason) = self.serve() {
            let lane = self.signals.lane;
            (self.report)(Input::LaneFailed { lane, reason });
        }
    }

    fn serve(&self) -> Result<(), String> {
        let mut trainer = self.build()?;
        (self.report)(Input::LaneReady(self.signals.lane));
        for job in &self.jobs {
            drop(job.place);
            if job.reply.is_closed() {
                continue;
            }
            if self.job_panics(&mut trainer, job.id, job.faults, job.task, job.reply) {
                // Its unfinished state must not reach the next job.
                guarded(move || drop(trainer)).unwrap_or_else(|reason| {
                    tracing::warn!(
                        "lane {}: the failed trainer's drop {reason}",
                        self.signals.lane.0
                    );
                });
                trainer = self.build()?;
            }
        }
        Ok(())
    }

    /// Does a job and reports it. Says whether the trainer panicked.
    fn job_panics(
        &self,
        trainer: &mut L::Trainer,
        id: JobId,
        faults: JobFaults,
        task: TrainTask<L::State>,
        mut reply: oneshot::Sender<JobReport<L::Update>>,
    ) -> bool {
        self.signals.heartbeat.begin(id.client);
        let began = Instant::now();
        let mut context = LaneJobContext::new(&self.signals, id, faults, &mut reply);
        context.begin();
        let result = guarded(|| self.work(trainer, &task, faults, &mut context));
        let (is_interrupted, work) = (context.is_interrupted(), context.work());
        self.signals.heartbeat.end();
        // No lane keeps an old global state alive.
        drop(task);
        let panicked = result.is_err();
        let result = match result {
            // An interrupted job gives no update, even if its trainer finished it.
            _ if is_interrupted => Err(JobFailure::Interruption),
            Ok(result) => result,
            Err(reason) => Err(JobFailure::Failed(reason)),
        };
        // A client that is no longer there has no use for it.
        let _ = reply.send(JobReport {
            lane: self.signals.lane,
            seconds: began.elapsed().as_secs_f64(),
            work,
            result,
        });
        panicked
    }

    fn build(&self) -> Result<L::Trainer, String> {
        guarded(|| self.workload.trainer(self.signals.lane))?.map_err(|error| error.to_string())
    }

    fn work(
        &self,
        trainer: &mut L::Trainer,
        task: &TrainTask<L::State>,
        faults: JobFaults,
        context: &mut LaneJobContext<'_, L>,
    ) -> JobResult<L::Update> {
        let mut trained = train_once_more(trainer, task, context)?;
        if faults.interruption.is_some() {
            return Err(context.interrupt());
        }
        if let Some((corruption, seed)) = faults.corruption {
            let key = StreamKey {
                seed,
                purpose: "corruption",
                name: &task.client_name,
                round: task.round,
                attempt: task.attempt,
            };
            self.workload
                .corrupt(
                    &mut trained.update,
                    &task.state,
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
    trainer: &mut L::Trainer,
    task: &TrainTask<L::State>,
    context: &mut LaneJobContext<'_, L>,
) -> Result<Trained<L::Update>, JobFailure> {
    let mut result = trainer.train(task, context);
    if let Err(JobError::OutOfMemory(reason)) = &result {
        tracing::warn!(
            "client {} in round {}: out of device memory ({reason}); retrying with less",
            task.client_name,
            task.round
        );
        trainer.relieve_memory();
        result = trainer.train(task, context);
    }
    result.map_err(|error| match error {
        JobError::Cancelled => JobFailure::Cancelled,
        error => JobFailure::Failed(error.to_string()),
    })
}
