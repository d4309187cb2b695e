//! Runs whose lanes are on other hosts, over a broker in memory that behaves badly.

mod chaos;
mod groups;
mod jobs;
mod losses;
mod members;
mod verified;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use regatta_actors::Run;
use regatta_actors::lanes::Lanes;
use regatta_actors::lanes::memory::{Line, MemoryBroker, Mischief};
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::lanes::timing::Timing;
use regatta_actors::lanes::wire::Invitation;
use regatta_actors::lanes::worker::{
    PreparedWorkload, WorkerEnd, WorkerError, WorkerSettings, serve,
};
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Fault, FaultKind};
use regatta_actors::prelude::*;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use tokio::sync::watch;

use crate::common::{Record, Toy, Trouble, plan};

const LEASE: Duration = Duration::from_millis(250);

fn timing() -> Timing {
    Timing {
        beat: Duration::from_millis(10),
        silence: Duration::from_millis(400),
        look: Duration::from_millis(30),
        retry: Duration::from_millis(5),
        without_lanes: Duration::from_secs(60),
        without_coordinator: Duration::from_secs(60),
        without_invitation: Duration::from_secs(60),
    }
}

pub(crate) fn settings() -> RemoteSettings {
    RemoteSettings {
        name: "coordinator".into(),
        description: "a toy".into(),
        invitation: Invitation {
            build: "toy 1".into(),
            run: "test".into(),
        },
        fingerprint: fingerprint(),
        canary: Digest::of(&[]),
        verified: VerifiedShare::NONE,
        largest_update: 1 << 30,
        timing: timing(),
    }
}

fn fingerprint() -> BTreeMap<String, String> {
    [("model".to_owned(), "toy".to_owned())].into()
}

/// A broker, and what to ask of hosts and workers, where nobody is taken for lost, however busy the
/// machine is.
pub(crate) fn patient() -> (MemoryBroker, RemoteSettings) {
    let mut settings = settings();
    settings.timing.silence = Duration::from_secs(60);
    let broker = MemoryBroker::new(settings.timing.silence, Mischief::default());
    (broker, settings)
}

/// A host on a thread.
pub(crate) struct Worker {
    line: Line,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<WorkerEnd, WorkerError>>,
}

impl Worker {
    pub fn start(broker: &MemoryBroker, lanes: u32, toy: Toy) -> Self {
        Self::with(broker, lanes, toy, |_| {})
    }

    fn with(
        broker: &MemoryBroker,
        lanes: u32,
        toy: Toy,
        change: impl FnOnce(&mut WorkerSettings),
    ) -> Self {
        let line = Line::default();
        let broker = broker.over(&line);
        let (stop, stopped) = watch::channel(false);
        let mut settings = WorkerSettings {
            name: "host".into(),
            build: "toy 1".into(),
            description: "a toy".into(),
            watchdog: None,
            timing: timing(),
        };
        change(&mut settings);
        let prepare = move |_: &Invitation| {
            Ok(PreparedWorkload {
                workload: Arc::new(toy),
                fingerprint: fingerprint(),
                lanes,
            })
        };
        let connect = move || async move { Ok(broker) };
        let thread = thread::spawn(move || serve(connect, settings, prepare, stopped));
        Self { line, stop, thread }
    }

    pub fn end(self) -> Result<WorkerEnd, WorkerError> {
        self.thread.join().unwrap()
    }
}

/// Runs a plan on the hosts that come to the broker.
fn coordinate(
    plan: FederationPlan,
    broker: &MemoryBroker,
    record: &Record,
    on_event: impl FnMut(&Event) + Send + 'static,
) -> Result<RunOutcome, RunError> {
    run_on(plan, broker, record, on_event).start()
}

fn run_on(
    plan: FederationPlan,
    broker: &MemoryBroker,
    record: &Record,
    on_event: impl FnMut(&Event) + Send + 'static,
) -> Run<Toy> {
    run_with(settings(), plan, broker, record, on_event)
}

pub(crate) fn run_with(
    settings: RemoteSettings,
    plan: FederationPlan,
    broker: &MemoryBroker,
    record: &Record,
    on_event: impl FnMut(&Event) + Send + 'static,
) -> Run<Toy> {
    let broker = broker.clone();
    Run::new(plan, Arc::new(Toy::default()))
        .observed_by(vec![Box::new(on_event)])
        .recorded_in(&record.files())
        .on(Lanes::remote(move || async move { Ok(broker) }, settings))
}

/// A plan in which much goes wrong as scripted.
pub(crate) fn eventful(rounds: u32) -> FederationPlan {
    let mut plan = plan(5, rounds, 1);
    plan.faults = vec![
        Fault::straggle(3.0).on([2]),
        Fault::drop(0.5).on([3]).in_rounds(2, 2),
        Fault::new(FaultKind::Crash { at: 0.5 })
            .on([1])
            .in_rounds(3, 3),
    ];
    plan
}

/// The record of a plan on lanes of one process.
pub(crate) fn local(plan: FederationPlan) -> Record {
    let record = Record::new();
    record.record(plan, Toy::default()).unwrap();
    record
}

pub(crate) fn slow() -> Toy {
    Toy {
        jitter: 2000,
        ..Toy::default()
    }
}

pub(crate) fn sound() -> MemoryBroker {
    MemoryBroker::new(LEASE, Mischief::default())
}

fn endless() -> Toy {
    troubled(Trouble::Endless)
}

pub(crate) fn troubled(trouble: Trouble) -> Toy {
    Toy {
        trouble,
        ..Toy::default()
    }
}
