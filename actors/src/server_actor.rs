//! The server's actor: the server's thread, reached by messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;

use crate::guard::guarded;
use crate::learner::{BoxError, Folder, Learner};
use crate::message::{Deposit, Input, Opened, ServerCommand, ServerTask};
use crate::scheduler_actor::SchedulerActor;
use crate::server::Server;

/// The server's actor, alone on its thread, since folding may take long.
pub(crate) struct ServerActor<L: Learner> {
    learner: Arc<L>,
    scheduler: Addr<SchedulerActor<L>>,
    /// `None` before it is built, and after it failed.
    server: Option<Box<Server<L::Folder>>>,
}

impl<L: Learner> ServerActor<L> {
    /// A server whose folder is built when it starts.
    pub fn new(learner: Arc<L>, scheduler: Addr<SchedulerActor<L>>) -> Self {
        Self {
            learner,
            scheduler,
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
        work: impl FnOnce(&mut Server<L::Folder>) -> Result<T, BoxError>,
    ) -> Option<T> {
        let server = self.server.as_mut()?;
        let result = guarded(|| work(server)).map(|result| result.map_err(|e| e.to_string()));
        match result.flatten() {
            Ok(value) => Some(value),
            Err(reason) => {
                self.failed(round, task, reason);
                None
            }
        }
    }

    fn open(&mut self, round: u32, holds: &BTreeSet<Option<u32>>) {
        let opened = self.attempt(round, ServerTask::Open, |server| {
            Ok((server.folder.global(), server.quote(holds)))
        });
        if let Some((global, bytes_down)) = opened {
            self.scheduler.do_send(Opened {
                round,
                global,
                bytes_down,
            });
        }
    }
}

impl<L: Learner> Actor for ServerActor<L> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let folder = guarded(|| self.learner.folder()).map(|f| f.map_err(|e| e.to_string()));
        match folder.flatten() {
            Ok(folder) => self.server = Some(Box::new(Server::new(folder))),
            Err(reason) => self.failed(0, ServerTask::Start, reason),
        }
    }
}

impl<L: Learner> Handler<Deposit<L::Update>> for ServerActor<L> {
    type Result = ();

    fn handle(&mut self, deposit: Deposit<L::Update>, _: &mut Context<Self>) {
        let stamp = deposit.stamp;
        let receipt = self.attempt(stamp.round, ServerTask::Receive, |server| {
            Ok(server.deposit(deposit))
        });
        if let Some(receipt) = receipt {
            self.scheduler.do_send(Input::Received { stamp, receipt });
        }
    }
}

impl<L: Learner> Handler<ServerCommand> for ServerActor<L> {
    type Result = ();

    fn handle(&mut self, command: ServerCommand, _: &mut Context<Self>) {
        let reply = match command {
            ServerCommand::Open { round, holds } => {
                self.open(round, &holds);
                None
            }
            ServerCommand::Discard { stamp } => {
                if let Some(server) = &mut self.server {
                    server.discard(stamp);
                }
                None
            }
            ServerCommand::Aggregate { round, take } => self
                .attempt(round, ServerTask::Aggregate, |server| {
                    server.aggregate(round, &take)
                })
                .map(|aggregation| Input::Aggregated { round, aggregation }),
            ServerCommand::Evaluate { round } => self
                .attempt(round, ServerTask::Evaluate, |server| {
                    server.folder.evaluate(round)
                })
                .map(|scores| Input::Evaluated { round, scores }),
            ServerCommand::Finish { round } => self
                .attempt(round, ServerTask::Finish, |server| server.folder.finish())
                .map(|()| Input::Finished),
        };
        if let Some(reply) = reply {
            self.scheduler.do_send(reply);
        }
    }
}
