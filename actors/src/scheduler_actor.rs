//! The scheduler's actor: feeds the state machine and does what it says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::client::ClientActor;
use crate::control::{ControlCommand, Order, Unconfirmed};
use crate::event::Event;
use crate::learner::{ClientId, Workload};
use crate::ledger::RecordError;
use crate::message::{
    Cancel, Input, JobFaults, JobId, Opened, ServerCommand, ServerTask, TrainRound, Work,
};
use crate::run::{RunError, RunOutcome};
use crate::scheduler::{Command, Scheduler};
use crate::server_actor::ServerActor;
use crate::tells::Outputs;
use crate::watchdog::Watchdog;

/// Where a run's outcome goes.
pub(crate) type OutcomeSender = oneshot::Sender<Result<RunOutcome, RunError>>;

/// Builds a client's actor, at the start and again after it died.
pub(crate) type ClientFactory<L> = Box<dyn Fn(ClientId) -> Addr<ClientActor<L>> + Send>;

/// The other actors, sent to the scheduler's when all are up; the run then begins.
pub(crate) struct Actors<L: Workload> {
    pub server: Addr<ServerActor<L>>,
    /// In client order.
    pub clients: Vec<Addr<ClientActor<L>>>,
    pub factory: ClientFactory<L>,
    pub watchdog: Option<Watchdog>,
}

impl<L: Workload> Message for Actors<L> {
    type Result = ();
}

impl Message for Order {
    type Result = ();
}

/// A thin shell around [`Scheduler`].
pub(crate) struct SchedulerActor<L: Workload> {
    machine: Scheduler,
    crew: Option<Actors<L>>,
    /// The state that the current round starts from.
    global: Option<Arc<L::Global>>,
    tells: Outputs,
    began: Instant,
    outcome: Option<OutcomeSender>,
}

impl<L: Workload> SchedulerActor<L> {
    pub fn new(machine: Scheduler, tells: Outputs, outcome: OutcomeSender) -> Self {
        Self {
            machine,
            crew: None,
            global: None,
            tells,
            began: Instant::now(),
            outcome: Some(outcome),
        }
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let wall = self.began.elapsed().as_secs_f64();
            let mut commands = self.machine.step(next, wall).into_iter();
            while let Some(command) = commands.next() {
                if let Err(error) = self.execute(command, ctx) {
                    input = self.record_failed(error, commands);
                    break;
                }
            }
        }
        if let Ok(mut status) = self.tells.status.lock() {
            *status = self.machine.status();
        }
    }

    /// What was to follow does not, since what comes before it is not recorded. Gives what the
    /// machine must know.
    fn record_failed(
        &mut self,
        error: RecordError,
        mut rest: impl Iterator<Item = Command>,
    ) -> Option<Input> {
        self.tells.sink = None;
        if rest.any(|command| matches!(command, Command::End(_))) {
            self.end(Err(error.into()));
            return None;
        }
        Some(Input::RecordFailed(error))
    }

    fn execute(&mut self, command: Command, ctx: &mut Context<Self>) -> Result<(), RecordError> {
        match command {
            Command::Emit(event) => self.tells.bus.emit(event),
            Command::Record {
                sequence,
                time,
                event,
            } => self.tells.record(sequence, time, event)?,
            Command::Show {
                round,
                client,
                state,
            } => self.tells.show(round, client, state),
            Command::Train { stamp, script } => self.train(stamp, script, ctx),
            Command::Cancel(stamp) => self.cancel(stamp),
            Command::Restart(client) => self.restart(client),
            Command::Server(command) => self.ask_server(command, ctx)?,
            Command::WakeAfter(seconds) => {
                let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                ctx.run_later(time, |actor, ctx| actor.step(Input::Tick, ctx));
            }
            Command::End(result) => self.end(*result),
        }
        Ok(())
    }

    fn end(&mut self, result: Result<RunOutcome, RunError>) {
        // The lanes end when nobody can send them a job any more.
        self.crew = None;
        if let Some(outcome) = self.outcome.take() {
            // Nobody waits any more only when the run is being torn down.
            let _ = outcome.send(result);
        }
    }

    fn ask_server(
        &mut self,
        mut command: ServerCommand,
        ctx: &Context<Self>,
    ) -> Result<(), RecordError> {
        if let ServerCommand::Save {
            recorded, ledger, ..
        } = &mut command
        {
            // A checkpoint must never be ahead of the ledger.
            self.tells.sync()?;
            let sink = self.tells.sink.as_ref();
            *ledger = sink.and_then(|sink| sink.mark(*recorded));
        }
        let Some(crew) = &self.crew else {
            return Ok(());
        };
        if crew.server.connected() {
            crew.server.do_send(command);
        } else {
            ctx.address().do_send(Input::ServerFailed {
                round: self.machine.status().round,
                task: ServerTask::Receive,
                reason: "the server's actor is dead".into(),
            });
        }
        Ok(())
    }

    /// Follows a command, unless it makes no sense or cannot be written down.
    fn follow(
        &mut self,
        command: ControlCommand,
        ctx: &mut Context<Self>,
    ) -> Result<(), Unconfirmed> {
        let intervention = self.machine.intervention(command);
        if let Some(intervention) = intervention.map_err(Unconfirmed::Refused)? {
            self.tells.keep(&intervention).map_err(|error| {
                tracing::error!("a command is not followed: {error}");
                Unconfirmed::Refused(format!("not done, since {error}"))
            })?;
        }
        self.step(Input::Control(command), ctx);
        Ok(())
    }

    fn train(&self, stamp: JobId, script: JobFaults, ctx: &Context<Self>) {
        let (Some(crew), Some(global)) = (&self.crew, &self.global) else {
            return;
        };
        let message = TrainRound {
            stamp,
            script,
            global: global.clone(),
        };
        let client = &crew.clients[stamp.client.0 as usize];
        if let Err(error) = client.try_send(message) {
            ctx.address().do_send(Input::JobFailed {
                stamp,
                lane: None,
                reason: format!(
                    "the actor of client {} takes no messages: {error}",
                    stamp.client
                ),
                work: Work::default(),
            });
        }
    }

    fn cancel(&self, stamp: JobId) {
        if let Some(crew) = &self.crew {
            crew.clients[stamp.client.0 as usize].do_send(Cancel(stamp));
        }
    }

    fn restart(&mut self, client: ClientId) {
        if let Some(crew) = &mut self.crew {
            crew.clients[client.0 as usize] = (crew.factory)(client);
        }
    }

    fn watch_lanes(&self) {
        let watchdog = self.crew.as_ref().and_then(|crew| crew.watchdog.as_ref());
        let stalled = watchdog.map(|watchdog| watchdog.look(Instant::now()));
        for (lane, client, idle) in stalled.into_iter().flatten() {
            let seconds = idle.as_secs_f64();
            tracing::warn!(
                "lane {} has made no progress with client {client} for {seconds:.0} s",
                lane.0
            );
            self.tells.bus.emit(Event::LaneStalled {
                lane,
                client,
                seconds,
            });
        }
    }
}

impl<L: Workload> Actor for SchedulerActor<L> {
    type Context = Context<Self>;
}

impl<L: Workload> Handler<Actors<L>> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, crew: Actors<L>, ctx: &mut Context<Self>) {
        if self.outcome.is_none() {
            return;
        }
        if let Some(watchdog) = &crew.watchdog {
            let every = (watchdog.patience / 4).max(Duration::from_millis(1));
            ctx.run_interval(every, |actor, _| actor.watch_lanes());
        }
        self.crew = Some(crew);
        self.step(Input::Started, ctx);
    }
}

impl<L: Workload> Handler<Opened<L::Global>> for SchedulerActor<L> {
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

impl<L: Workload> Handler<Order> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        let followed = match self.outcome {
            Some(_) => self.follow(order.command, ctx),
            None => Err(Unconfirmed::Over),
        };
        if let Some(confirm) = order.confirm {
            // Who has not the patience to wait has gone.
            let _ = confirm.try_send(followed);
        }
    }
}

impl<L: Workload> Handler<Input> for SchedulerActor<L> {
    type Result = ();

    fn handle(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.step(input, ctx);
    }
}
