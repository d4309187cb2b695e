//! What runs on a lane's thread.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use actix::Recipient;
use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use crate::board::Board;
use crate::bus::Bus;
use crate::event::{ClientState, Event};
use crate::guard::guarded;
use crate::lane::{Job, JobFailure, JobReport};
use crate::learner::{
    Digest, JobError, LaneId, Learner, Payload, Progress, TrainTask, Trained, Trainer, Watch,
};
use crate::message::{Input, Stamp};

/// One lane; [`LaneThread::run`] is its thread's main function.
pub(crate) struct LaneThread<L: Learner> {
    pub lane: LaneId,
    pub learner: Arc<L>,
    pub jobs: Receiver<Job<L>>,
    pub scheduler: Recipient<Input>,
    pub board: Arc<Board>,
    pub bus: Bus,
}

impl<L: Learner> LaneThread<L> {
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
            let Job {
                stamp,
                task,
                mut reply,
                place,
            } = job;
            drop(place);
            if reply.is_closed() {
                continue;
            }
            let report = self.work(&mut trainer, stamp, &task, &mut reply);
            drop(task);
            let panicked = matches!(report.result, Err(JobFailure::Panicked(_)));
            // A client that is no longer there has no use for it.
            let _ = reply.send(report);
            if panicked {
                // What it left half done must not reach the next job.
                guarded(move || drop(trainer)).unwrap_or_else(|reason| {
                    tracing::warn!("lane {}: the failed trainer's drop {reason}", self.lane.0);
                });
                trainer = self.build()?;
            }
        }
        Ok(())
    }

    fn build(&self) -> Result<L::Trainer, String> {
        guarded(|| self.learner.trainer(self.lane))?.map_err(|error| error.to_string())
    }

    fn work(
        &self,
        trainer: &mut L::Trainer,
        stamp: Stamp,
        task: &TrainTask<L::Global>,
        reply: &mut oneshot::Sender<JobReport<L::Update>>,
    ) -> JobReport<L::Update> {
        let began = Instant::now();
        let mut watch = LaneWatch {
            thread: self,
            stamp,
            reply,
        };
        watch.begin();
        let result = guarded(|| train_once_more(trainer, task, &mut watch));
        JobReport {
            lane: self.lane,
            seconds: began.elapsed().as_secs_f64(),
            result: result.unwrap_or_else(|reason| Err(JobFailure::Panicked(reason))),
        }
    }
}

/// Trains; after running out of memory, once more with less.
fn train_once_more<T, G, U>(
    trainer: &mut T,
    task: &TrainTask<G>,
    watch: &mut dyn Watch,
) -> Result<(Trained<U>, Digest), JobFailure>
where
    T: Trainer<Global = G, Update = U>,
    U: Payload,
{
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
    match result {
        Ok(trained) => {
            let digest = trained.update.digest();
            Ok((trained, digest))
        }
        Err(JobError::Cancelled) => Err(JobFailure::Cancelled),
        Err(error) => Err(JobFailure::Failed(error.to_string())),
    }
}

/// Reports a job's progress, and ends it when nobody waits for its reply.
struct LaneWatch<'a, L: Learner> {
    thread: &'a LaneThread<L>,
    stamp: Stamp,
    reply: &'a mut oneshot::Sender<JobReport<L::Update>>,
}

impl<L: Learner> LaneWatch<'_, L> {
    fn begin(&self) {
        let Stamp { round, client, .. } = self.stamp;
        let lane = Some(self.thread.lane);
        self.thread.board.update(client, |status| {
            status.state = ClientState::Training;
            status.lane = lane;
        });
        self.thread.bus.emit(Event::ClientState {
            round,
            client,
            state: ClientState::Training,
            lane,
        });
    }
}

impl<L: Learner> Watch for LaneWatch<'_, L> {
    fn step(&mut self, progress: Progress) -> ControlFlow<()> {
        if self.reply.is_closed() {
            return ControlFlow::Break(());
        }
        let Stamp { round, client, .. } = self.stamp;
        self.thread.board.update(client, |status| {
            status.progress = Some(progress);
            status.loss = progress.loss.or(status.loss);
        });
        self.thread.bus.offer(Event::Progress {
            round,
            client,
            lane: self.thread.lane,
            progress,
        });
        ControlFlow::Continue(())
    }
}
