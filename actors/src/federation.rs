//! Puts the actors of a run together, waits for its end, and takes everything apart again.

use std::sync::Arc;
use std::thread::JoinHandle;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use crate::bus::Bus;
use crate::client::ClientActor;
use crate::control::{Control, ControlCommand};
use crate::event::Observer;
use crate::lanes::{LaneStarter, Lanes};
use crate::learner::{ClientId, Learner};
use crate::message::Input;
use crate::plan::{ClientPlan, FederationPlan};
use crate::run::{RunError, RunOutcome};
use crate::scheduler::Scheduler;
use crate::scheduler_actor::{Crew, OutcomeSender, SchedulerActor};
use crate::server_actor::ServerActor;

/// Runs a checked plan; to be called on a thread of its own.
pub(crate) fn run<L: Learner>(
    plan: FederationPlan,
    learner: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let (bus, observing) = Bus::start(observers)?;
    let result = conduct(Arc::new(plan), learner, &bus, control);
    drop(bus);
    if let Some(thread) = observing {
        join(thread);
    }
    result
}

/// Starts the actors, waits for the outcome, and ends what it started: clients first, which
/// cancels their jobs and closes the lanes' queues, then lanes, then the server.
fn conduct<L: Learner>(
    plan: Arc<FederationPlan>,
    learner: Arc<L>,
    bus: &Bus,
    control: Control,
) -> Result<RunOutcome, RunError> {
    let system = System::new();
    let (sender, outcome) = oneshot::channel();
    let mut threads = Threads::default();
    let result = system.block_on(async {
        let start = Start {
            plan,
            learner,
            bus,
            control,
        };
        start.start(sender, &mut threads)?;
        let died = || RunError::Broken("the scheduler died".into());
        outcome.await.unwrap_or_else(|_| Err(died()))
    });
    threads.end();
    result
}

/// The threads of a run, in the order in which they must end.
#[derive(Default)]
struct Threads {
    clients: Option<Arbiter>,
    lanes: Vec<JoinHandle<()>>,
    server: Option<Arbiter>,
}

impl Threads {
    fn end(self) {
        self.clients.into_iter().for_each(end_arbiter);
        self.lanes.into_iter().for_each(join);
        self.server.into_iter().for_each(end_arbiter);
    }
}

fn end_arbiter(arbiter: Arbiter) {
    arbiter.stop();
    if arbiter.join().is_err() {
        tracing::warn!("a thread of the run panicked while it ended");
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::warn!("a thread of the run panicked while it ended");
    }
}

/// What a run is started with.
struct Start<'a, L> {
    plan: Arc<FederationPlan>,
    learner: Arc<L>,
    bus: &'a Bus,
    control: Control,
}

impl<L: Learner> Start<'_, L> {
    fn start(self, outcome: OutcomeSender, threads: &mut Threads) -> Result<(), RunError> {
        let machine = Scheduler::new(self.plan.clone());
        let scheduler = SchedulerActor::new(machine, self.bus.clone(), outcome).start();

        let arbiter = threads.server.insert(Arbiter::try_new()?);
        let (learner, address) = (self.learner.clone(), scheduler.clone());
        let server = ServerActor::start_in_arbiter(&arbiter.handle(), move |_| {
            ServerActor::new(learner, address)
        });

        let starter = LaneStarter {
            learner: self.learner.clone(),
            scheduler: scheduler.clone().recipient(),
            board: self.control.board.clone(),
            bus: self.bus.clone(),
        };
        let lanes = starter.start(&self.plan, &mut threads.lanes)?;

        let arbiter = threads.clients.insert(Arbiter::try_new()?);
        let clients = self.clients(&arbiter.handle(), &lanes, &server, &scheduler);
        actix::spawn(forward(self.control.commands, scheduler.clone()));
        scheduler.do_send(Crew { server, clients });
        Ok(())
    }

    fn clients(
        &self,
        arbiter: &ArbiterHandle,
        lanes: &Lanes<L>,
        server: &Addr<ServerActor<L>>,
        scheduler: &Addr<SchedulerActor<L>>,
    ) -> Vec<Addr<ClientActor<L>>> {
        let start = |(client, plan): (ClientId, &ClientPlan)| {
            let actor = ClientActor {
                client,
                name: plan.name.as_str().into(),
                lanes: lanes.group(plan.lane),
                server: server.clone(),
                scheduler: scheduler.clone().recipient(),
                board: self.control.board.clone(),
                bus: self.bus.clone(),
                job: None,
            };
            self.control.board.update(client, |_| {});
            ClientActor::start_in_arbiter(arbiter, move |_| actor)
        };
        self.plan.numbered().map(start).collect()
    }
}

async fn forward<L: Learner>(
    mut commands: mpsc::UnboundedReceiver<ControlCommand>,
    scheduler: Addr<SchedulerActor<L>>,
) {
    while let Some(command) = commands.recv().await {
        scheduler.do_send(Input::Control(command));
    }
}
