//! The code that runs on a lane's thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use crate::ids::{ClientId, Digest, LaneId};
use crate::lanes::pool::{JobFailure, JobReport, JobRequest, JobResult};
use crate::lanes::progress::{LaneJobContext, LaneSignals};
use crate::lanes::queue::{Job, JobMember};
use crate::panics::guarded;
use crate::protocol::job::JobFaults;
use crate::random::StreamKey;
use crate::workload::job::{JobContext, JobError, TrainResult, TrainTask, Trained};
use crate::workload::update::Payload;
use crate::workload::{ClientTrainer, Workload};

/// One lane; [`LaneThread::start`] begins it.
pub(crate) struct LaneThread<L: Workload> {
    pub signals: LaneSignals,
    pub workload: Arc<L>,
    pub jobs: Receiver<Job<L>>,
    pub report: LaneReports,
    pub kind: LaneKind,
}

/// Whether a lane's bits are a matter of this process alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// The run's own process. A job that the device has too little memory for is tried once more
    /// with less at a time, which may change last bits.
    Local,
    /// A host among others. It shows by its canary job that it has the bits of the others, and gives
    /// back a job that it has no room for.
    Remote,
}

/// What became of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LaneReport {
    /// It has its trainer and takes jobs.
    Ready {
        lane: LaneId,
        /// What the canary job gave, if the lane was to do it.
        canary: Option<Digest>,
    },
    /// It has no trainer and takes no jobs.
    Gone { lane: LaneId, reason: String },
    /// Its device is lost to the whole process, whose other lanes may share it, as may the server.
    DeviceLost { lane: LaneId, reason: String },
}

/// Where lanes report what became of them.
pub(crate) type LaneReports = Arc<dyn Fn(LaneReport) + Send + Sync>;

/// What a job left of its lane.
enum After {
    /// It takes the next one.
    Sound,
    /// The trainer panicked.
    Panic,
    /// See [`LaneReport::DeviceLost`].
    DeviceLost,
}

impl<L: Workload> LaneThread<L> {
    /// Starts the lane's thread.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn start(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name(format!("regatta-lane-{}", self.signals.lane.0))
            .spawn(move || self.run())
    }

    /// Trains jobs until no client can send any more, no trainer can be built, or the device is lost.
    fn run(self) {
        if let Err(reason) = self.serve() {
            let lane = self.signals.lane;
            (self.report)(LaneReport::Gone { lane, reason });
        }
    }

    fn serve(&self) -> Result<(), String> {
        let mut trainer = self.build()?;
        let canary = match self.kind {
            LaneKind::Local => None,
            LaneKind::Remote => Some(canary::<L>(&mut trainer)?),
        };
        let lane = self.signals.lane;
        (self.report)(LaneReport::Ready { lane, canary });
        for job in &self.jobs {
            drop(job.place);
            let mut alone = job.members;
            alone.retain(|member| !member.reply.is_closed());
            if job.together.len() > 1 && !alone.is_empty() {
                let (after, left) = self.work_on_all(&mut trainer, &job.together, alone);
                alone = left;
                match self.recover(trainer, after)? {
                    Some(sound) => trainer = sound,
                    None => return Ok(()),
                }
            }
            for JobMember { request, reply } in alone {
                let after = self.work_on(&mut trainer, request, reply);
                match self.recover(trainer, after)? {
                    Some(sound) => trainer = sound,
                    None => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// The trainer for the next job; `None` if the device is lost.
    fn recover(&self, trainer: L::Trainer, after: After) -> Result<Option<L::Trainer>, String> {
        match after {
            After::Sound => Ok(Some(trainer)),
            After::Panic => {
                // Its unfinished state must not reach the next job.
                self.discard(trainer);
                self.build().map(Some)
            }
            After::DeviceLost => {
                // Which may fail on such a device too.
                self.discard(trainer);
                Ok(None)
            }
        }
    }

    fn discard(&self, trainer: L::Trainer) {
        guarded(move || drop(trainer)).unwrap_or_else(|reason| {
            tracing::warn!(
                "lane {}: the failed trainer's drop {reason}",
                self.signals.lane.0
            );
        });
    }

    /// Does a job and reports it.
    fn work_on(
        &self,
        trainer: &mut L::Trainer,
        request: JobRequest<L::State>,
        mut reply: oneshot::Sender<JobReport<L::Update>>,
    ) -> After {
        let JobRequest {
            id, faults, task, ..
        } = request;
        self.signals.heartbeat.begin(id.client);
        let began = Instant::now();
        let mut context = LaneJobContext::new(&self.signals, id, faults, &mut reply);
        context.begin();
        let result = guarded(|| {
            let trained = self.train(trainer, &task, &mut context)?;
            self.finish(trained, &task, faults, &mut context)
        });
        let (is_interrupted, work) = (context.is_interrupted(), context.work());
        context.end();
        self.signals.heartbeat.end();
        // No lane keeps an old global state alive.
        drop(task);
        let after = match &result {
            Ok(Err(JobFailure::DeviceLost(reason))) => self.device_lost(reason),
            Ok(_) => After::Sound,
            Err(_) => After::Panic,
        };
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
        after
    }

    /// Trains clients together, and reports to those who wait for them. Gives back the jobs that are
    /// to be done one by one, since together they failed: so a failure stays with the job that has it.
    fn work_on_all(
        &self,
        trainer: &mut L::Trainer,
        tasks: &[TrainTask<L::State>],
        mut members: Vec<JobMember<L>>,
    ) -> (After, Vec<JobMember<L>>) {
        if let Some(first) = members.first() {
            self.signals.heartbeat.begin(first.request.id.client);
        }
        let began = Instant::now();
        let mut contexts = self.contexts(tasks, &mut members);
        let result = guarded(|| {
            let all = contexts.iter_mut();
            let mut all: Vec<_> = all.map(|one| one as &mut dyn JobContext).collect();
            trainer.train_together(tasks, &mut all)
        });
        contexts.iter().flatten().for_each(LaneJobContext::end);
        self.signals.heartbeat.end();
        let (after, results) = match result {
            Ok(Ok(results)) => (After::Sound, Ok(results)),
            Ok(Err(JobError::DeviceLost(lost))) => (
                self.device_lost(&lost.to_string()),
                Err(JobError::DeviceLost(lost).into()),
            ),
            Ok(Err(error)) => (After::Sound, Err(error.into())),
            Err(reason) => (After::Panic, Err(JobFailure::Failed(reason))),
        };
        if let Err(failure) = &results
            && self.goes_on_one_by_one(tasks, failure)
        {
            drop(contexts);
            return (after, members);
        }
        let seconds = began.elapsed().as_secs_f64() / tasks.len() as f64;
        let mut reports = self.reports(tasks, &mut contexts, results, seconds);
        drop(contexts);
        for JobMember { request, reply } in members {
            if let Some(report) = reports.remove(&request.id.client) {
                // A client that is no longer there has no use for it.
                let _ = reply.send(report);
            }
        }
        (after, Vec::new())
    }

    /// Whether clients that failed together are to be trained one by one. What they give alone has other
    /// last bits, so that among many hosts it is not for one of them to say, which may be the only one
    /// that they fail on.
    fn goes_on_one_by_one(&self, tasks: &[TrainTask<L::State>], failure: &JobFailure) -> bool {
        let reason = match failure {
            JobFailure::OutOfMemory(reason) | JobFailure::Failed(reason) => reason,
            JobFailure::Cancelled | JobFailure::Interruption | JobFailure::DeviceLost(_) => {
                return false;
            }
        };
        if self.kind == LaneKind::Remote {
            return false;
        }
        tracing::warn!(
            "lane {}: {} clients of round {} are trained one by one, for together they failed: {reason}",
            self.signals.lane.0,
            tasks.len(),
            tasks.first().map_or(0, |task| task.round),
        );
        true
    }

    /// The line of each task to its lane, where somebody waits for it.
    fn contexts<'a>(
        &'a self,
        tasks: &[TrainTask<L::State>],
        members: &'a mut [JobMember<L>],
    ) -> Vec<Option<LaneJobContext<'a, L>>> {
        let mut contexts: Vec<_> = tasks.iter().map(|_| None).collect();
        for JobMember { request, reply } in members {
            let place = tasks
                .iter()
                .position(|task| task.client == request.id.client);
            if let Some(context) = place.and_then(|place| contexts.get_mut(place)) {
                let (id, faults) = (request.id, request.faults);
                let own = LaneJobContext::new(&self.signals, id, faults, reply);
                own.begin();
                *context = Some(own);
            }
        }
        contexts
    }

    /// What is reported of jobs that were trained together, by client; each took `seconds`. They have a
    /// result each, or failed as one.
    fn reports(
        &self,
        tasks: &[TrainTask<L::State>],
        contexts: &mut [Option<LaneJobContext<'_, L>>],
        results: Result<Vec<TrainResult<L::Update>>, JobFailure>,
        seconds: f64,
    ) -> BTreeMap<ClientId, JobReport<L::Update>> {
        let results: Vec<Result<_, JobFailure>> = match results {
            Ok(results) => results
                .into_iter()
                .map(|one| one.map_err(JobFailure::from))
                .collect(),
            Err(failure) => tasks.iter().map(|_| Err(failure.clone())).collect(),
        };
        let mut reports = BTreeMap::new();
        for ((task, context), result) in tasks.iter().zip(contexts).zip(results) {
            let Some(context) = context else { continue };
            let result = match result {
                _ if context.is_interrupted() => Err(JobFailure::Interruption),
                Ok(trained) => self.finish(trained, task, context.faults(), context),
                Err(failure) => Err(failure),
            };
            let report = JobReport {
                lane: self.signals.lane,
                seconds,
                work: context.work(),
                result,
            };
            reports.insert(task.client, report);
        }
        reports
    }

    /// Reports that the device is lost, before any job is answered, so that no client is blamed for it.
    fn device_lost(&self, reason: &str) -> After {
        (self.report)(LaneReport::DeviceLost {
            lane: self.signals.lane,
            reason: reason.to_owned(),
        });
        After::DeviceLost
    }

    fn build(&self) -> Result<L::Trainer, String> {
        guarded(|| self.workload.trainer(self.signals.lane))?.map_err(|error| error.to_string())
    }

    /// What becomes of a trained job before it is reported.
    fn finish(
        &self,
        mut trained: Trained<L::Update>,
        task: &TrainTask<L::State>,
        faults: JobFaults,
        context: &mut LaneJobContext<'_, L>,
    ) -> JobResult<L::Update> {
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

    /// Trains; after running out of memory, perhaps once more with less.
    fn train(
        &self,
        trainer: &mut L::Trainer,
        task: &TrainTask<L::State>,
        context: &mut LaneJobContext<'_, L>,
    ) -> Result<Trained<L::Update>, JobFailure> {
        let mut result = trainer.train(task, context);
        if let Err(JobError::OutOfMemory(reason)) = &result
            && self.kind == LaneKind::Local
        {
            tracing::warn!(
                "client {} in round {}: out of device memory ({reason}); retrying with less",
                task.client_name,
                task.round
            );
            trainer.relieve_memory();
            result = trainer.train(task, context);
        }
        result.map_err(JobFailure::from)
    }
}

fn canary<W: Workload>(trainer: &mut W::Trainer) -> Result<Digest, String> {
    let digest = guarded(|| trainer.canary())?;
    digest.map_err(|error| format!("the canary job failed: {error}"))
}
