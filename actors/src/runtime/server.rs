//! The server's actor: the server's thread, reached by messages.

use std::sync::Arc;

use actix::prelude::*;

use crate::ids::RunId;
use crate::journal::checkpoint::{Checkpoint, CheckpointStore};
use crate::observe::bus::Bus;
use crate::panics::guarded;
use crate::plan::FederationPlan;
use crate::protocol::command::{LedgerMark, ServerCommand};
use crate::protocol::event::Event;
use crate::protocol::input::Input;
use crate::protocol::outcome::{RecordError, ServerTask};
use crate::runtime::messages::{Opened, SubmitUpdate};
use crate::runtime::update_buffer::UpdateBuffer;
use crate::workload::job::DeviceLost;
use crate::workload::update::BoxError;
use crate::workload::{ServerAggregator, ServerWorkload};

/// The server's actor, alone on its thread, since aggregation may take long.
pub(crate) struct ServerActor<L: ServerWorkload> {
    workload: Arc<L>,
    scheduler: Recipient<Input>,
    opened: Recipient<Opened<L::State>>,
    plan: Arc<FederationPlan>,
    bus: Bus,
    /// Updates of another run are not accepted.
    run: RunId,
    store: Option<CheckpointStore>,
    /// The checkpoint to resume from; restored when the actor starts.
    beginning: Option<Box<Checkpoint>>,
    /// `None` before it is built, and after it failed.
    server: Option<Box<UpdateBuffer<L, L::Aggregator>>>,
}

/// The inputs of a server.
pub(crate) struct ServerSetup<L> {
    pub workload: Arc<L>,
    pub plan: Arc<FederationPlan>,
    /// Where it tells how far it is.
    pub bus: Bus,
    /// The checkpoint store, if there is one.
    pub store: Option<CheckpointStore>,
    /// The checkpoint to resume from.
    pub beginning: Option<Box<Checkpoint>>,
}

impl<L: ServerWorkload> ServerActor<L> {
    /// A server whose aggregator is built when it starts.
    pub fn new(
        start: ServerSetup<L>,
        scheduler: Recipient<Input>,
        opened: Recipient<Opened<L::State>>,
    ) -> Self {
        Self {
            workload: start.workload,
            scheduler,
            opened,
            run: start.plan.run_id(),
            plan: start.plan,
            bus: start.bus,
            store: start.store,
            beginning: start.beginning,
            server: None,
        }
    }

    fn failed(&mut self, round: u32, task: ServerTask, reason: String) {
        self.scheduler.do_send(Input::ServerFailed {
            round,
            task,
            reason,
        });
        self.server = None;
    }

    /// Has the server do something, if there is one; a failure is reported and ends it.
    fn attempt<T>(
        &mut self,
        round: u32,
        task: ServerTask,
        work: impl FnOnce(&mut UpdateBuffer<L, L::Aggregator>) -> Result<T, BoxError>,
    ) -> Option<T> {
        let server = self.server.as_mut()?;
        match guarded(|| work(server)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) if error.is::<DeviceLost>() => {
                let reason = format!("the server cannot {task}: {error}");
                self.scheduler.do_send(Input::DeviceLost { reason });
                self.server = None;
                None
            }
            Ok(Err(error)) => {
                self.failed(round, task, error.to_string());
                None
            }
            Err(reason) => {
                self.failed(round, task, reason);
                None
            }
        }
    }

    /// Builds the server, at its beginning or at a checkpoint.
    fn build(&mut self, task: ServerTask, from: Option<&Checkpoint>) -> bool {
        self.server = None;
        let (workload, run, plan) = (&self.workload, self.run, self.plan.clone());
        let server = guarded(|| {
            let mut aggregator = workload.aggregator()?;
            let Some(checkpoint) = from else {
                return Ok(UpdateBuffer::new(aggregator, plan));
            };
            aggregator.restore(&checkpoint.aggregator)?;
            UpdateBuffer::restore(aggregator, plan, &checkpoint.updates, run)
        });
        let server = server.map(|result| result.map_err(|e: BoxError| e.to_string()));
        match server.flatten() {
            Ok(server) => self.server = Some(Box::new(server)),
            Err(reason) => self.failed(from.map_or(0, |c| c.round), task, reason),
        }
        self.server.is_some()
    }

    fn open(&mut self, command: ServerCommand) {
        let ServerCommand::Open {
            round,
            held_versions,
            oldest,
        } = command
        else {
            return;
        };
        let opened = self.attempt(round, ServerTask::Open, |server| {
            server.aggregator.forget_before(oldest);
            Ok((server.aggregator.state(), server.quote(&held_versions)))
        });
        if let Some((state, bytes_down)) = opened {
            self.opened.do_send(Opened {
                round,
                state,
                bytes_down,
            });
        }
    }

    fn save(
        &mut self,
        round: u32,
        recorded: u64,
        ledger: Option<LedgerMark>,
        scheduler: Vec<u8>,
    ) -> Option<Input> {
        let (aggregator, updates) = self.attempt(round, ServerTask::Save, |server| {
            Ok((server.aggregator.checkpoint()?, server.updates()?))
        })?;
        let store = self.store.as_ref()?;
        let checkpoint = Checkpoint {
            plan: store.plan().clone(),
            fingerprint: store.fingerprint().clone(),
            canary: store.canary().cloned(),
            round,
            recorded,
            ledger,
            scheduler,
            aggregator,
            updates,
        };
        Some(match store.save(&checkpoint) {
            Ok(bytes) => Input::Saved { round, bytes },
            Err(error) => Input::RecordFailed(error),
        })
    }

    fn finish(&mut self, round: u32) -> Option<Input> {
        let bus = self.bus.clone();
        let predicted = move |done, total| bus.offer(Event::Predicting { done, total });
        self.attempt(round, ServerTask::Finish, |server| {
            server.aggregator.finish(&predicted)
        })
        .map(|()| Input::Finished)
    }

    /// Restarts from the last checkpoint, as a process that was killed would.
    fn recover(&mut self, run: RunId) -> Option<Input> {
        self.run = run;
        let checkpoint = match self.last_checkpoint() {
            Ok(checkpoint) => checkpoint,
            Err(error) => return Some(Input::RecordFailed(error)),
        };
        let built = self.build(ServerTask::Recover, checkpoint.as_ref());
        let state = checkpoint.map(|checkpoint| checkpoint.scheduler);
        built.then_some(Input::Recovered { state })
    }

    fn last_checkpoint(&self) -> Result<Option<Checkpoint>, RecordError> {
        self.store
            .as_ref()
            .map_or(Ok(None), CheckpointStore::latest)
    }
}

impl<L: ServerWorkload> Actor for ServerActor<L> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let beginning = self.beginning.take();
        let task = match beginning {
            Some(_) => ServerTask::Recover,
            None => ServerTask::Start,
        };
        self.build(task, beginning.as_deref());
    }
}

impl<L: ServerWorkload> Handler<SubmitUpdate<L::Update>> for ServerActor<L> {
    type Result = ();

    fn handle(&mut self, submitted: SubmitUpdate<L::Update>, _: &mut Context<Self>) {
        let id = submitted.id;
        if id.run != self.run {
            return;
        }
        let info = self.attempt(id.round, ServerTask::Receive, |server| {
            Ok(server.submit(submitted))
        });
        if let Some(info) = info {
            self.scheduler.do_send(Input::Received { id, info });
        }
    }
}

impl<L: ServerWorkload> Handler<ServerCommand> for ServerActor<L> {
    type Result = ();

    fn handle(&mut self, command: ServerCommand, _: &mut Context<Self>) {
        let reply = match command {
            ServerCommand::Open { .. } => {
                self.open(command);
                None
            }
            ServerCommand::Discard { id } => {
                if let Some(server) = &mut self.server {
                    server.discard(id);
                }
                None
            }
            ServerCommand::Aggregate { round, updates } => self
                .attempt(round, ServerTask::Aggregate, |server| {
                    server.aggregate(round, &updates)
                })
                .map(|aggregation| Input::Aggregated { round, aggregation }),
            ServerCommand::Evaluate { round } => self
                .attempt(round, ServerTask::Evaluate, |server| {
                    server.aggregator.evaluate(round)
                })
                .map(|scores| Input::Evaluated { round, scores }),
            ServerCommand::Save {
                round,
                recorded,
                ledger,
                state,
            } => self.save(round, recorded, ledger, state),
            ServerCommand::Recover { run } => self.recover(run),
            ServerCommand::Finish { round } => self.finish(round),
        };
        if let Some(reply) = reply {
            self.scheduler.do_send(reply);
        }
    }
}
