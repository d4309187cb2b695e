//! Puts the actors of a run together, waits for its end, and takes everything apart again.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use crate::journal::checkpoint::{Checkpoint, CheckpointStore};
use crate::journal::interventions::InterventionLog;
use crate::journal::ledger::Sink;
use crate::lanes::Lanes;
use crate::lanes::pool::{LanePool, PoolContext, StartedLanes};
use crate::lanes::watchdog::Watchdog;
use crate::observe::Observer;
use crate::observe::bus::Bus;
use crate::observe::control::{Control, Order};
use crate::plan::FederationPlan;
use crate::protocol::control::Intervention;
use crate::protocol::outcome::{RunError, RunOutcome};
use crate::runtime::client::ClientActor;
use crate::runtime::messages::{Actors, ClientFactory, ClientRecipients};
use crate::runtime::outputs::Outputs;
use crate::runtime::scheduler::{OutcomeSender, SchedulerActor};
use crate::runtime::server::{ServerActor, ServerSetup};
use crate::scheduler::{Scheduler, StartFrom};
use crate::workload::ServerWorkload;

/// The inputs of a run.
pub(crate) struct RunSetup<L: ServerWorkload> {
    /// A checked plan.
    pub plan: Arc<FederationPlan>,
    pub workload: Arc<L>,
    pub observers: Vec<Box<dyn Observer>>,
    pub control: Control,
    pub journal: Journal,
    pub lanes: Lanes<L>,
}

/// The files of a run, and the checkpoint it continues from.
#[derive(Default)]
pub(crate) struct Journal {
    pub sink: Option<Box<dyn Sink + Send>>,
    pub store: Option<CheckpointStore>,
    pub beginning: Option<Box<Checkpoint>>,
    /// The log of control commands.
    pub log: Option<InterventionLog>,
    /// Control commands that are known beforehand.
    pub interventions: Vec<Intervention>,
}

/// Runs a plan; to be called on a separate thread.
pub(crate) fn run<L: ServerWorkload>(mut start: RunSetup<L>) -> Result<RunOutcome, RunError> {
    let (bus, observing) = Bus::start(std::mem::take(&mut start.observers))?;
    let result = conduct(start, &bus);
    drop(bus);
    if let Some(thread) = observing {
        join(thread);
    }
    result
}

/// Starts the actors, waits for the outcome, and ends what it started: clients first, which
/// cancels their jobs and closes the lanes' queues, then lanes, then the server.
fn conduct<L: ServerWorkload>(start: RunSetup<L>, bus: &Bus) -> Result<RunOutcome, RunError> {
    let system = System::new();
    let (sender, outcome) = oneshot::channel();
    let mut threads = Threads::default();
    let result = system.block_on(async {
        start.start(bus, sender, &mut threads)?;
        let died = || RunError::Broken("the scheduler died".into());
        outcome.await.unwrap_or_else(|_| Err(died()))
    });
    // What still waits in the scheduler's mailbox may hold a way to the lanes.
    drop(system);
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

impl<L: ServerWorkload> RunSetup<L> {
    fn start(
        mut self,
        bus: &Bus,
        outcome: OutcomeSender,
        threads: &mut Threads,
    ) -> Result<(), RunError> {
        let (finish, finishing) = watch::channel(false);
        let scheduler = self.scheduler(bus, outcome, finish)?;
        let server = self.server(bus, &scheduler, threads)?;
        let reports = scheduler.clone();
        let drains = std::mem::replace(&mut self.control.drains, mpsc::unbounded_channel().1);
        let context = PoolContext {
            plan: self.plan.clone(),
            workload: self.workload.clone(),
            report: Arc::new(move |input| reports.do_send(input)),
            board: self.control.board.clone(),
            hosts: self.control.hosts.clone(),
            drains,
            finishing,
            bus: bus.clone(),
        };
        let lanes = std::mem::replace(&mut self.lanes, Lanes::local());
        let StartedLanes { pool, heartbeats } = lanes.start(context, &mut threads.lanes)?;
        let arbiter = threads.clients.insert(Arbiter::try_new()?).handle();
        let ids = self.plan.numbered().map(|(client, _)| client);
        let ids: Vec<_> = ids.collect();
        let patience = self.plan.watchdog_seconds.map(Duration::from_secs_f64);
        let factory = self.client_factory(bus, arbiter, pool, &server, &scheduler);
        actix::spawn(forward(self.control.commands, scheduler.clone()));
        scheduler.do_send(Actors {
            server: server.recipient(),
            clients: ids.into_iter().map(&factory).collect(),
            factory,
            watchdog: patience.map(|patience| Watchdog {
                heartbeats,
                patience,
            }),
        });
        Ok(())
    }

    fn scheduler(
        &mut self,
        bus: &Bus,
        outcome: OutcomeSender,
        finishing: watch::Sender<bool>,
    ) -> Result<Addr<SchedulerActor<L::State>>, RunError> {
        let state = self.journal.beginning.as_mut();
        let beginning = StartFrom {
            state: state.map(|checkpoint| std::mem::take(&mut checkpoint.scheduler)),
            interventions: std::mem::take(&mut self.journal.interventions),
            saves: self.journal.store.is_some(),
        };
        let scheduler = Scheduler::begin(self.plan.clone(), beginning)
            .map_err(|reason| RunError::Broken(format!("the scheduler's state: {reason}")))?;
        let outputs = Outputs {
            bus: bus.clone(),
            board: self.control.board.clone(),
            status: self.control.status.clone(),
            sink: self.journal.sink.take(),
            log: self.journal.log.take(),
            finishing,
        };
        Ok(SchedulerActor::new(scheduler, outputs, outcome).start())
    }

    fn server(
        &mut self,
        bus: &Bus,
        scheduler: &Addr<SchedulerActor<L::State>>,
        threads: &mut Threads,
    ) -> Result<Addr<ServerActor<L>>, RunError> {
        let start = ServerSetup {
            workload: self.workload.clone(),
            plan: self.plan.clone(),
            bus: bus.clone(),
            store: self.journal.store.take(),
            beginning: self.journal.beginning.take(),
        };
        let (inputs, opened) = (scheduler.clone().recipient(), scheduler.clone().recipient());
        let arbiter = threads.server.insert(Arbiter::try_new()?).handle();
        Ok(ServerActor::start_in_arbiter(&arbiter, move |_| {
            ServerActor::new(start, inputs, opened)
        }))
    }

    fn client_factory(
        &self,
        bus: &Bus,
        arbiter: ArbiterHandle,
        lanes: Arc<dyn LanePool<L>>,
        server: &Addr<ServerActor<L>>,
        scheduler: &Addr<SchedulerActor<L::State>>,
    ) -> ClientFactory<L::State> {
        let (plan, board) = (self.plan.clone(), self.control.board.clone());
        let (bus, server) = (bus.clone(), server.clone().recipient());
        let scheduler = scheduler.clone().recipient();
        Box::new(move |client| {
            let client_plan = &plan.clients[client.0 as usize];
            let actor = ClientActor {
                client,
                name: client_plan.name.as_str().into(),
                lanes: lanes.clone(),
                own_lane: client_plan.lane,
                server: server.clone(),
                scheduler: scheduler.clone(),
                board: board.clone(),
                bus: bus.clone(),
                job: None,
            };
            board.update(client, |_| {});
            let client = ClientActor::start_in_arbiter(&arbiter, move |_| actor);
            ClientRecipients {
                train: client.clone().recipient(),
                cancel: client.recipient(),
            }
        })
    }
}

async fn forward<S: Send + Sync + 'static>(
    mut commands: mpsc::UnboundedReceiver<Order>,
    scheduler: Addr<SchedulerActor<S>>,
) {
    while let Some(order) = commands.recv().await {
        scheduler.do_send(order);
    }
}
