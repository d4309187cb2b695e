//! The client actor: an identity that takes its turn on a lane.

use std::panic::resume_unwind;
use std::sync::Arc;

use actix::prelude::*;

use crate::board::Board;
use crate::bus::Bus;
use crate::event::{ClientState, Event};
use crate::fault::InterruptionKind;
use crate::lane::{JobFailure, JobReport, LaneGroup, LanesGone};
use crate::learner::{ClientId, LaneId, TrainTask, Workload};
use crate::message::{Cancel, Input, JobFaults, JobId, SubmitUpdate, TrainRound, Work};
use crate::server_actor::ServerActor;

/// One client. It holds no model and no data: these are the learner's, by the client's number.
/// When it dies, it tells the scheduler.
pub(crate) struct ClientActor<L: Workload> {
    pub client: ClientId,
    pub name: Arc<str>,
    pub lanes: LaneGroup<L>,
    pub server: Addr<ServerActor<L>>,
    pub scheduler: Recipient<Input>,
    pub board: Arc<Board>,
    pub bus: Bus,
    pub job: Option<ClientJob>,
}

/// The job that a client waits for; cancelled by cancelling its handle.
pub(crate) struct ClientJob {
    handle: SpawnHandle,
    stamp: JobId,
    /// What it had done when it ended.
    work: Work,
}

impl<L: Workload> Actor for ClientActor<L> {
    type Context = Context<Self>;
}

impl<L: Workload> Drop for ClientActor<L> {
    fn drop(&mut self) {
        // An actor whose handler panics is dropped without a word. When the run is taken down,
        // nobody listens any more.
        let job = self.job.take().map(|job| (job.stamp, job.work));
        let client = self.client;
        self.scheduler.do_send(Input::ClientDied { client, job });
    }
}

impl<L: Workload> Handler<TrainRound<L::Global>> for ClientActor<L> {
    type Result = ();

    fn handle(&mut self, message: TrainRound<L::Global>, ctx: &mut Context<Self>) {
        let TrainRound {
            stamp,
            script,
            global,
        } = message;
        self.give_up(ctx);
        self.enter(stamp, ClientState::Queued);
        let task = TrainTask {
            client: self.client,
            client_name: self.name.clone(),
            round: stamp.round,
            attempt: stamp.attempt,
            global,
        };
        let lanes = self.lanes.clone();
        let job = async move { lanes.train(stamp, script, task).await }
            .into_actor(self)
            .map(move |report, client, _| client.job_ended(stamp, script, report));
        self.job = Some(ClientJob {
            handle: ctx.spawn(job),
            stamp,
            work: Work::default(),
        });
    }
}

impl<L: Workload> Handler<Cancel> for ClientActor<L> {
    type Result = ();

    fn handle(&mut self, Cancel(stamp): Cancel, ctx: &mut Context<Self>) {
        if self.job.as_ref().is_some_and(|job| job.stamp == stamp) {
            self.give_up(ctx);
            self.enter(stamp, ClientState::Idle);
        }
    }
}

impl<L: Workload> ClientActor<L> {
    fn give_up(&mut self, ctx: &mut Context<Self>) {
        if let Some(job) = self.job.take() {
            ctx.cancel_future(job.handle);
        }
    }

    fn job_ended(
        &mut self,
        stamp: JobId,
        script: JobFaults,
        report: Result<JobReport<L::Update>, LanesGone>,
    ) {
        let Ok(JobReport {
            lane,
            seconds,
            work,
            result,
        }) = report
        else {
            let reason = "no lane is left to train on".into();
            return self.failed(stamp, None, reason, Work::default());
        };
        match result {
            Ok((trained, digest)) => {
                self.job = None;
                self.board.update(self.client, |status| {
                    status.loss = Some(trained.loss);
                });
                self.enter(stamp, ClientState::Sent);
                self.server.do_send(SubmitUpdate {
                    stamp,
                    trained,
                    digest,
                    lane,
                    seconds,
                });
            }
            Err(JobFailure::Interruption) => self.cut(stamp, script, lane, work),
            Err(JobFailure::Cancelled) => self.failed(stamp, Some(lane), "cancelled".into(), work),
            Err(JobFailure::Failed(reason)) => self.failed(stamp, Some(lane), reason, work),
        }
    }

    /// The job ended where the plan cuts it.
    fn cut(&mut self, stamp: JobId, script: JobFaults, lane: LaneId, work: Work) {
        let reason = match script.cut.map(|cut| cut.kind) {
            Some(InterruptionKind::Crash) => {
                if let Some(job) = &mut self.job {
                    job.work = work;
                }
                // A panic that the plan wants; the hook that prints panics is for those that it
                // does not.
                resume_unwind(Box::new(format!(
                    "client {} crashes as planned",
                    self.client
                )));
            }
            Some(InterruptionKind::LaneFailure) => "its lane failed",
            Some(InterruptionKind::Leave { .. }) | None => "it dropped out",
        };
        self.failed(stamp, Some(lane), reason.into(), work);
    }

    fn failed(&mut self, stamp: JobId, lane: Option<LaneId>, reason: String, work: Work) {
        self.job = None;
        self.enter(stamp, ClientState::Idle);
        self.scheduler.do_send(Input::JobFailed {
            stamp,
            lane,
            reason,
            work,
        });
    }

    fn enter(&self, stamp: JobId, state: ClientState) {
        self.board.update(self.client, |status| {
            status.state = state;
            status.round = stamp.round;
            status.progress = None;
        });
        self.bus.emit(Event::ClientState {
            round: stamp.round,
            client: self.client,
            state,
            lane: None,
        });
    }
}
