//! The client actor: an identity that takes its turn on a lane.

use std::panic::resume_unwind;
use std::sync::Arc;

use actix::prelude::*;

use crate::ids::{ClientId, JobId, LaneId};
use crate::lanes::pool::{JobFailure, JobReport, JobRequest, LanePool, PoolClosed};
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::plan::fault::injection::InterruptionKind;
use crate::protocol::client_state::ClientState;
use crate::protocol::event::Event;
use crate::protocol::input::Input;
use crate::protocol::job::{JobFaults, Work};
use crate::runtime::messages::{Cancel, SubmitUpdate, TrainRound};
use crate::workload::Workload;
use crate::workload::job::TrainTask;

/// One client. It holds no model and no data: these are the workload's, by the client's number.
/// When it dies, it tells the scheduler.
pub(crate) struct ClientActor<L: Workload> {
    pub client: ClientId,
    pub name: Arc<str>,
    pub lanes: Arc<dyn LanePool<L>>,
    /// The lane that it has to itself, if it has one.
    pub own_lane: Option<LaneId>,
    pub server: Recipient<SubmitUpdate<L::Update>>,
    pub scheduler: Recipient<Input>,
    pub board: Arc<Board>,
    pub bus: Bus,
    pub job: Option<ClientJob>,
}

/// The job that a client waits for; cancelled by cancelling its handle.
pub(crate) struct ClientJob {
    handle: SpawnHandle,
    id: JobId,
    /// The work done before it ended.
    work: Work,
}

impl<L: Workload> Actor for ClientActor<L> {
    type Context = Context<Self>;
}

impl<L: Workload> Drop for ClientActor<L> {
    fn drop(&mut self) {
        // actix drops an actor whose handler panics, silently. When the run is taken down,
        // nobody listens any more.
        let job = self.job.take().map(|job| (job.id, job.work));
        let client = self.client;
        self.scheduler.do_send(Input::ClientDied { client, job });
    }
}

impl<L: Workload> Handler<TrainRound<L::State>> for ClientActor<L> {
    type Result = ();

    fn handle(&mut self, message: TrainRound<L::State>, ctx: &mut Context<Self>) {
        let TrainRound {
            id,
            faults,
            group,
            state,
        } = message;
        self.give_up(ctx);
        self.enter(id, ClientState::Queued);
        let task = TrainTask {
            client: self.client,
            client_name: self.name.clone(),
            round: id.round,
            attempt: id.attempt,
            state,
        };
        let request = JobRequest {
            id,
            faults,
            own_lane: self.own_lane,
            group,
            task,
        };
        let job = (self.lanes.train(request).into_actor(self))
            .map(move |report, client, _| client.job_ended(id, faults, report));
        self.job = Some(ClientJob {
            handle: ctx.spawn(job),
            id,
            work: Work::default(),
        });
    }
}

impl<L: Workload> Handler<Cancel> for ClientActor<L> {
    type Result = ();

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Context<Self>) {
        if self.job.as_ref().is_some_and(|job| job.id == id) {
            self.give_up(ctx);
            self.enter(id, ClientState::Idle);
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
        id: JobId,
        faults: JobFaults,
        report: Result<JobReport<L::Update>, PoolClosed>,
    ) {
        // A job that was given up in this very moment may still report.
        if self.job.as_ref().is_none_or(|job| job.id != id) {
            return;
        }
        let Ok(JobReport {
            lane,
            seconds,
            work,
            result,
        }) = report
        else {
            let reason = "no lane is left to train on".into();
            return self.failed(id, None, reason, Work::default());
        };
        match result {
            Ok((trained, digest)) => {
                self.job = None;
                self.board.update(self.client, |status| {
                    status.loss = Some(trained.loss);
                });
                self.enter(id, ClientState::Sent);
                self.server.do_send(SubmitUpdate {
                    id,
                    trained,
                    digest,
                    lane,
                    seconds,
                });
            }
            Err(JobFailure::Interruption) => self.interrupt(id, faults, lane, work),
            Err(JobFailure::Cancelled) => self.failed(id, Some(lane), "cancelled".into(), work),
            Err(
                JobFailure::OutOfMemory(reason)
                | JobFailure::DeviceLost(reason)
                | JobFailure::Failed(reason),
            ) => {
                self.failed(id, Some(lane), reason, work);
            }
        }
    }

    /// The job ended where the plan interrupts it.
    fn interrupt(&mut self, id: JobId, faults: JobFaults, lane: LaneId, work: Work) {
        let reason = match faults.interruption.map(|interruption| interruption.kind) {
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
        self.failed(id, Some(lane), reason.into(), work);
    }

    fn failed(&mut self, id: JobId, lane: Option<LaneId>, reason: String, work: Work) {
        self.job = None;
        self.enter(id, ClientState::Idle);
        self.scheduler.do_send(Input::JobFailed {
            id,
            lane,
            reason,
            work,
        });
    }

    fn enter(&self, id: JobId, state: ClientState) {
        self.board.update(self.client, |status| {
            status.state = state;
            status.round = id.round;
            status.progress = None;
        });
        self.bus.emit(Event::ClientState {
            round: id.round,
            client: self.client,
            state,
            lane: None,
        });
    }
}
