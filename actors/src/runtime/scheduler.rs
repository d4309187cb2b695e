//! The scheduler's actor: feeds the state machine and does what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::ids::{ClientId, JobId};
use crate::lanes::seat::GroupSeat;
use crate::observe::control::{Order, Unconfirmed};
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::control::ControlCommand;
use crate::protocol::event::Event;
use crate::protocol::input::Input;
use crate::protocol::job::JobFaults;
use crate::protocol::outcome::{RecordError, RunError, RunOutcome, ServerTask};
use crate::runtime::messages::{Actors, Cancel, Opened, TrainRound};
use crate::runtime::outputs::Outputs;
use crate::scheduler::Scheduler;

/// The sender of a run's outcome.
pub(crate) type OutcomeSender = oneshot::Sender<Result<RunOutcome, RunError>>;

/// A thin shell around [`Scheduler`].
pub(crate) struct SchedulerActor<S: Send + Sync + 'static> {
    scheduler: Scheduler,
    actors: Option<Actors<S>>,
    /// The states that jobs start from, by round: the current one, and those of jobs that are not done.
    states: BTreeMap<u32, Arc<S>>,
    /// The groups whose jobs are given out in this very step, by their first client.
    groups: BTreeMap<ClientId, GroupSeat>,
    outputs: Outputs,
    began: Instant,
    outcome: Option<OutcomeSender>,
}

impl<S: Send + Sync + 'static> SchedulerActor<S> {
    pub fn new(scheduler: Scheduler, outputs: Outputs, outcome: OutcomeSender) -> Self {
        Self {
            scheduler,
            actors: None,
            states: BTreeMap::new(),
            groups: BTreeMap::new(),
            outputs,
            began: Instant::now(),
            outcome: Some(outcome),
        }
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let wall = self.began.elapsed().as_secs_f64();
            let mut commands = self.scheduler.step(next, wall).into_iter();
            while let Some(command) = commands.next() {
                if let Err(error) = self.execute(command, ctx) {
                    input = self.record_failed(error, commands);
                    break;
                }
            }
            // Whoever is in a group has been told.
            self.groups.clear();
        }
        if let Ok(mut status) = self.outputs.status.lock() {
            *status = self.scheduler.status();
        }
    }

    /// What was to follow does not, since what comes before it is not recorded. Gives what the
    /// machine must know.
    fn record_failed(
        &mut self,
        error: RecordError,
        mut rest: impl Iterator<Item = Command>,
    ) -> Option<Input> {
        self.outputs.sink = None;
        if rest.any(|command| matches!(command, Command::End(_))) {
            self.end(Err(error.into()));
            return None;
        }
        Some(Input::RecordFailed(error))
    }

    fn execute(&mut self, command: Command, ctx: &mut Context<Self>) -> Result<(), RecordError> {
        match command {
            Command::Emit(event) => self.outputs.bus.emit(event),
            Command::Record {
                sequence,
                time,
                event,
            } => self.outputs.record(sequence, time, event)?,
            Command::SetClientState {
                round,
                client,
                state,
            } => self.outputs.show(round, client, state),
            Command::Train { id, faults, group } => self.train(id, faults, &group),
            Command::Cancel(id) => self.cancel(id),
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
        self.actors = None;
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
        match &mut command {
            ServerCommand::Open { .. } => {
                let busy = self.scheduler.busy_rounds();
                self.states.retain(|round, _| busy.contains(round));
            }
            ServerCommand::Save {
                recorded, ledger, ..
            } => {
                // A checkpoint must never be ahead of the ledger.
                self.outputs.sync()?;
                let sink = self.outputs.sink.as_ref();
                *ledger = sink.and_then(|sink| sink.mark(*recorded));
            }
            _ => {}
        }
        let Some(actors) = &self.actors else {
            return Ok(());
        };
        if actors.server.connected() {
            actors.server.do_send(command);
        } else {
            ctx.address().do_send(Input::ServerFailed {
                round: self.scheduler.status().round,
                task: ServerTask::Receive,
                reason: "the server's actor is dead".into(),
            });
        }
        Ok(())
    }

    /// Follows a command, unless it is invalid or cannot be recorded.
    fn follow(
        &mut self,
        command: ControlCommand,
        ctx: &mut Context<Self>,
    ) -> Result<(), Unconfirmed> {
        let intervention = self.scheduler.intervention(command);
        if let Some(intervention) = intervention.map_err(Unconfirmed::Refused)? {
            self.outputs.keep(&intervention).map_err(|error| {
                tracing::error!("command ignored: {error}");
                Unconfirmed::Refused(format!("not done, since {error}"))
            })?;
        }
        self.step(Input::Control(command), ctx);
        if command == ControlCommand::FinishRound {
            self.outputs.finishing.send_replace(true);
        }
        Ok(())
    }

    fn train(&mut self, id: JobId, faults: JobFaults, group: &[ClientId]) {
        let (Some(actors), Some(state)) = (&self.actors, self.states.get(&id.round)) else {
            return;
        };
        let group = group.first().map(|first| {
            let seat = self.groups.entry(*first);
            seat.or_insert_with(|| GroupSeat::new(group)).clone()
        });
        let message = TrainRound {
            id,
            faults,
            group,
            state: state.clone(),
        };
        // A client that has just died takes no messages, but says that it died.
        actors.clients[id.client.0 as usize].train.do_send(message);
    }

    fn cancel(&self, id: JobId) {
        if let Some(actors) = &self.actors {
            actors.clients[id.client.0 as usize]
                .cancel
                .do_send(Cancel(id));
        }
    }

    fn restart(&mut self, client: ClientId) {
        if let Some(actors) = &mut self.actors {
            actors.clients[client.0 as usize] = (actors.factory)(client);
        }
    }

    fn watch_lanes(&self) {
        let watchdog = self
            .actors
            .as_ref()
            .and_then(|actors| actors.watchdog.as_ref());
        let stalled = watchdog.map(|watchdog| watchdog.look(Instant::now()));
        for (lane, client, idle) in stalled.into_iter().flatten() {
            let seconds = idle.as_secs_f64();
            tracing::warn!(
                "lane {} has made no progress with client {client} for {seconds:.0} s",
                lane.0
            );
            self.outputs.bus.emit(Event::LaneStalled {
                lane,
                client,
                seconds,
            });
        }
    }
}

impl<S: Send + Sync + 'static> Actor for SchedulerActor<S> {
    type Context = Context<Self>;
}

impl<S: Send + Sync + 'static> Handler<Actors<S>> for SchedulerActor<S> {
    type Result = ();

    fn handle(&mut self, actors: Actors<S>, ctx: &mut Context<Self>) {
        if self.outcome.is_none() {
            return;
        }
        if let Some(watchdog) = &actors.watchdog {
            let every = (watchdog.patience / 4).max(Duration::from_millis(1));
            ctx.run_interval(every, |actor, _| actor.watch_lanes());
        }
        self.actors = Some(actors);
        self.step(Input::Started, ctx);
    }
}

impl<S: Send + Sync + 'static> Handler<Opened<S>> for SchedulerActor<S> {
    type Result = ();

    fn handle(&mut self, opened: Opened<S>, ctx: &mut Context<Self>) {
        let Opened {
            round,
            state,
            bytes_down,
        } = opened;
        self.states.insert(round, state);
        self.step(Input::Opened { round, bytes_down }, ctx);
    }
}

impl<S: Send + Sync + 'static> Handler<Order> for SchedulerActor<S> {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        let followed = match self.outcome {
            Some(_) => self.follow(order.command, ctx),
            None => Err(Unconfirmed::Over),
        };
        if let Some(confirm) = order.confirm {
            // The sender may have stopped waiting.
            let _ = confirm.try_send(followed);
        }
    }
}

impl<S: Send + Sync + 'static> Handler<Input> for SchedulerActor<S> {
    type Result = ();

    fn handle(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.step(input, ctx);
    }
}
