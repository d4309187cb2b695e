//! The scheduler's actor: feeds the state machine and does what it says.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::bus::Bus;
use crate::client::ClientActor;
use crate::learner::Learner;
use crate::message::{Input, Opened, Stamp, TrainRound};
use crate::run::{RunError, RunOutcome};
use crate::scheduler::{Command, Scheduler};
use crate::server_actor::ServerActor;

/// Where a run's outcome goes.
pub(crate) type OutcomeSender = oneshot::Sender<Result<RunOutcome, RunError>>;

/// The other actors, sent to the scheduler's when all are up; the run then begins.
pub(crate) struct Crew<L: Learner> {
    pub server: Addr<ServerActor<L>>,
    /// In client order.
    pub clients: Vec<Addr<ClientActor<L>>>,
}

impl<L: Learner> Message for Crew<L> {
    type Result = ();
}

/// A thin shell around [`Scheduler`].
pub(crate) struct SchedulerActor<L: Learner> {
    machine: Scheduler,
    crew: Option<Crew<L>>,
    /// The state that the current round starts from.
    global: Option<Arc<L::Global>>,
    bus: Bus,
    began: Instant,
    outcome: Option<OutcomeSender>,
}

impl<L: Learner> SchedulerActor<L> {
    pub fn new(machine: Scheduler, bus: Bus, outcome: OutcomeSender) -> Self {
        Self {
            machine,
            crew: None,
            global: None,
            bus,
            began: Instant::now(),
            outcome: Some(outcome),
        }
    }

    fn step(&mut self, input: Input, ctx: &Context<Self>) {
        let wall = self.began.elapsed().as_secs_f64();
        for command in self.machine.step(input, wall) {
            self.execute(command, ctx);
        }
    }

    fn execute(&mut self, command: Command, ctx: &Context<Self>) {
        match command {
            Command::Emit(event) => self.bus.emit(event),
            Command::Train(stamp) => self.train(stamp, ctx),
            Command::Server(command) => {
                if let Some(crew) = &self.crew {
                    crew.server.do_send(command);
                }
            }
            Command::End(result) => {
                if let Some(outcome) = self.outcome.take() {
                    // Nobody waits any more only when the run is being torn down.
                    let _ = outcome.send(*result);
                }
            }
        }
    }

    fn train(&self, stamp: Stamp, ctx: &Context<Self>) {
        let (Some(crew), Some(global)) = (&self.crew, &self.global) else {
            return;
        };
        let message = TrainRound {
            stamp,
            global: global.clone(),
        };
        let client = &crew.clients[stamp.client.0 as usize];
        if let Err(error) = client.try_send(message) {
            ctx.address().do_send(Input::JobFailed {
                stamp,
                lane: None,
                reason: format!("the client's actor takes no messages: {error}"),
            });
        }
    }
}

impl<L: Learner> Actor for SchedulerActor<L> {
    type Context = Context<Self>;
}

impl<L: Learner> Handler<Crew<L>> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, crew: Crew<L>, ctx: &mut Context<Self>) {
        self.crew = Some(crew);
        self.step(Input::Started, ctx);
    }
}

impl<L: Learner> Handler<Opened<L::Global>> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, opened: Opened<L::Global>, ctx: &mut Context<Self>) {
        let Opened {
            round,
            global,
            bytes_down,
        } = opened;
        self.global = Some(global);
        self.step(Input::Opened { round, bytes_down }, ctx);
    }
}

impl<L: Learner> Handler<Input> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.step(input, ctx);
    }
}
