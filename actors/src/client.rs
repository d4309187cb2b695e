//! The client actor: an identity that takes its turn on a lane.

use std::sync::Arc;

use actix::prelude::*;

use crate::board::Board;
use crate::bus::Bus;
use crate::event::{ClientState, Event};
use crate::lane::{JobFailure, JobReport, LaneGroup, LanesGone};
use crate::learner::{ClientId, LaneId, Learner, TrainTask};
use crate::message::{Deposit, Input, Stamp, TrainRound};
use crate::server_actor::ServerActor;

/// One client. It holds no model and no data: these are the learner's, by the client's number.
pub(crate) struct ClientActor<L: Learner> {
    pub client: ClientId,
    pub name: Arc<str>,
    pub lanes: LaneGroup<L>,
    pub server: Addr<ServerActor<L>>,
    pub scheduler: Recipient<Input>,
    pub board: Arc<Board>,
    pub bus: Bus,
    /// The job it waits for; cancelled by cancelling this.
    pub job: Option<SpawnHandle>,
}

impl<L: Learner> Actor for ClientActor<L> {
    type Context = Context<Self>;
}

impl<L: Learner> Handler<TrainRound<L::Global>> for ClientActor<L> {
    type Result = ();

    fn handle(&mut self, message: TrainRound<L::Global>, ctx: &mut Context<Self>) {
        if let Some(job) = self.job.take() {
            ctx.cancel_future(job);
        }
        let TrainRound { stamp, global } = message;
        self.enter(stamp, ClientState::Queued);
        let task = TrainTask {
            client: self.client,
            client_name: self.name.clone(),
            round: stamp.round,
            attempt: stamp.attempt,
            global,
        };
        let lanes = self.lanes.clone();
        let job = async move { lanes.train(stamp, task).await }
            .into_actor(self)
            .map(move |report, client, _| client.job_ended(stamp, report));
        self.job = Some(ctx.spawn(job));
    }
}

impl<L: Learner> ClientActor<L> {
    fn job_ended(&mut self, stamp: Stamp, report: Result<JobReport<L::Update>, LanesGone>) {
        self.job = None;
        let Ok(JobReport {
            lane,
            seconds,
            result,
        }) = report
        else {
            return self.failed(stamp, None, "no lane is left to train on".into());
        };
        match result {
            Ok((trained, digest)) => {
                self.board.update(self.client, |status| {
                    status.loss = Some(trained.loss);
                });
                self.enter(stamp, ClientState::Sent);
                self.server.do_send(Deposit {
                    stamp,
                    trained,
                    digest,
                    lane,
                    seconds,
                });
            }
            Err(JobFailure::Cancelled) => self.failed(stamp, Some(lane), "cancelled".into()),
            Err(JobFailure::Failed(reason) | JobFailure::Panicked(reason)) => {
                self.failed(stamp, Some(lane), reason);
            }
        }
    }

    fn failed(&self, stamp: Stamp, lane: Option<LaneId>, reason: String) {
        self.enter(stamp, ClientState::Idle);
        self.scheduler.do_send(Input::JobFailed {
            stamp,
            lane,
            reason,
        });
    }

    fn enter(&self, stamp: Stamp, state: ClientState) {
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
