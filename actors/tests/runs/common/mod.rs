//! A workload for tests, whole runs of it, and their records.
#![allow(dead_code, clippy::unwrap_used)]

mod record;
mod toy;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regatta_actors::control;
use regatta_actors::observe::Observer;
use regatta_actors::plan::{ClientPlan, FederationPlan};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};
use regatta_actors::runtime::Run;

pub use self::record::{Record, kill, kill_resumed};
pub use self::toy::{Lie, STEPS, Toy, Trouble};

/// Keeps every event.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn on_event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    /// The events that belong into the ledger, without wall time.
    pub fn recorded(&self) -> Vec<Event> {
        let all = self.all().into_iter();
        all.filter(Event::is_recorded)
            .map(Event::without_wall_time)
            .collect()
    }

    /// How each client's part of a round ended.
    pub fn outcomes(&self, round: u32) -> Vec<(u32, Outcome)> {
        let record = self.rounds().into_iter().find(|r| r.round == round);
        let clients = record.expect("there is no such round").clients.into_iter();
        clients.map(|c| (c.client.0, c.outcome)).collect()
    }

    /// When each round ended.
    pub fn times(&self) -> Vec<f64> {
        self.rounds().iter().map(|r| r.virtual_seconds).collect()
    }

    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// The rounds, without what was measured in wall time.
    pub fn rounds(&self) -> Vec<RoundRecord> {
        let without_wall_time = |mut record: RoundRecord| {
            record.forget_wall_time();
            record
        };
        let rounds = self.all().into_iter().filter_map(|event| match event {
            Event::RoundFinished(record) => Some(without_wall_time(record)),
            _ => None,
        });
        rounds.collect()
    }
}

pub fn plan(clients: u64, rounds: u32, lanes: u32) -> FederationPlan {
    let clients = (0..clients)
        .map(|i| ClientPlan::new(format!("client-{i}"), 10 + i))
        .collect();
    FederationPlan {
        rounds,
        lanes,
        ..FederationPlan::new("test", 7, clients)
    }
}

/// Runs a plan that must come to its end.
pub fn play(plan: FederationPlan) -> Events {
    let (result, events) = run(plan, Toy::default());
    result.expect("the run comes to its end");
    events
}

/// Runs and checks that nothing was left behind, whatever the result.
pub fn run(plan: FederationPlan, toy: Toy) -> (Result<RunOutcome, RunError>, Events) {
    let (handle, control) = control();
    let events = Events::default();
    let alive = toy.alive.clone();
    let workload = Arc::new(toy);
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(events.clone())];
    let result = Run::new(plan, workload.clone())
        .observed_by(observers)
        .controlled_by(control)
        .start();
    assert_eq!(
        alive.load(Ordering::SeqCst),
        0,
        "a trainer or aggregator is left"
    );
    assert_eq!(Arc::strong_count(&workload), 1, "a thread is left");
    drop(handle);
    (result, events)
}

/// Waits until `ready`, which must come to pass.
pub fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}
