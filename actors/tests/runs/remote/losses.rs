//! Hosts, broker or coordinator that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use regatta_actors::lanes::memory::{Line, MemoryBroker, Mischief};
use regatta_actors::lanes::worker::WorkerEnd;
use regatta_actors::observe::Observer;
use regatta_actors::plan::FederationPlan;
use regatta_actors::protocol::event::Event;

use crate::common::{Events, Record, Toy, plan};
use crate::remote::{
    LEASE, Worker, coordinate, endless, eventful, local, run_on, slow, sound, timing,
};

#[test]
fn a_run_on_other_hosts_has_the_ledger_of_a_local_one() {
    let expected = local(eventful(4));
    let (broker, record) = (sound(), Record::new());
    let workers = [1, 2].map(|lanes| Worker::start(&broker, lanes, Toy::default()));
    let outcome = coordinate(eventful(4), &broker, &record, |_| {}).unwrap();
    assert_eq!(outcome.rounds, 4);
    assert_eq!(record.ledger(), expected.ledger());
    for worker in workers {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
    assert_eq!(broker.holds(), (0, 0, 0), "something is left in the broker");
}

#[test]
fn updates_too_large_for_a_message_go_as_blobs_that_do_not_add_up() {
    let expected = local(plan(4, 8, 1));
    // So small that no update fits beside what comes with it.
    let (broker, record) = (sound().with_largest_message(1), Record::new());
    let worker = Worker::start(&broker, 2, Toy::default());
    let (tell, most) = std::sync::mpsc::channel();
    let counted = broker.clone();
    coordinate(plan(4, 8, 1), &broker, &record, move |event| {
        if let Event::RoundStarted { round: 8, .. } = event {
            tell.send(counted.holds().1).unwrap();
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    // Of 28 updates at most those of one round, and at most the states of two; two blobs each.
    let most = most.recv().unwrap();
    assert!(most <= 12, "{most} blobs are kept");
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_broker_that_forgets_everything_costs_time_and_nothing_else() {
    let expected = local(eventful(4));
    let (broker, record) = (sound(), Record::new());
    let worker = Worker::start(&broker, 2, slow());
    let forgetful = broker.clone();
    coordinate(eventful(4), &broker, &record, move |event| {
        if let Event::RoundStarted { .. } | Event::UpdateReceived { .. } = event {
            forgetful.forget_all();
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_queue_that_stops_giving_out_jobs_is_restarted() {
    let expected = local(plan(3, 3, 1));
    let (broker, record) = (sound(), Record::new());
    let worker = Worker::start(&broker, 1, Toy::default());
    let stalling = broker.clone();
    coordinate(plan(3, 3, 1), &broker, &record, move |event| {
        if let Event::RoundStarted { round: 2, .. } = event {
            stalling.stall();
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn jobs_that_nobody_waits_for_leave_the_queue() {
    let expected = local(plan(3, 60, 1));
    let (broker, record) = (sound(), Record::new());
    // Their leases end while the run goes on, and their states are forgotten.
    broker.keep_done_jobs();
    let worker = Worker::start(&broker, 1, slow());
    coordinate(plan(3, 60, 1), &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn states_and_updates_that_the_broker_damages_are_stored_again() {
    let expected = local(plan(3, 20, 1));
    let mischief = Mischief {
        damage: 0.2,
        ..Mischief::default()
    };
    let broker = MemoryBroker::new(LEASE, mischief).with_largest_message(1);
    let record = Record::new();
    let worker = Worker::start(&broker, 1, Toy::default());
    coordinate(plan(3, 20, 1), &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_broker_that_is_away_for_a_while_is_told_once_and_so_is_its_return() {
    let (broker, record, line) = (sound(), Record::new(), Line::default());
    let worker = Worker::start(&broker, 1, slow());
    let (told, cut) = (Events::default(), line.clone());
    let mut heard = told.clone();
    coordinate(plan(3, 3, 1), &broker.over(&line), &record, move |event| {
        heard.on_event(event);
        match event {
            Event::RoundStarted { round: 2, .. } => cut.cut(),
            Event::BrokerAway { .. } => cut.mend(),
            _ => {}
        }
    })
    .unwrap();
    let told = told.all();
    let count = |is: fn(&Event) -> bool| told.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Event::BrokerAway { .. })), 1);
    // At the start as well.
    assert_eq!(count(|event| matches!(event, Event::BrokerReached)), 2);
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_host_that_is_cut_off_loses_its_jobs_and_joins_again() {
    host_is_cut_off(eventful(4));
}

/// Runs a plan on a host that is cut off in round 2, and another that comes then.
pub(super) fn host_is_cut_off(plan: FederationPlan) {
    let expected = local(plan.clone());
    let (broker, record) = (sound(), Record::new());
    let lost = Worker::start(&broker, 1, slow());
    let line = lost.line.clone();
    let (joined, late) = (AtomicU32::new(0), broker.clone());
    let (tell, other) = std::sync::mpsc::channel();
    coordinate(plan, &broker, &record, move |event| {
        if let Event::ClientState { round: 2, .. } = event
            && joined.fetch_add(1, Ordering::SeqCst) == 3
        {
            line.cut();
            tell.send(Worker::start(&late, 1, slow())).unwrap();
        }
        if let Event::RoundStarted { round: 3, .. } = event {
            line.mend();
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(other.recv().unwrap().end().unwrap(), WorkerEnd::RunOver);
    assert_eq!(lost.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_job_whose_hosts_are_lost_again_and_again_ends_the_run_and_leaves_the_queue() {
    hosts_are_lost(plan(1, 2, 1), "client 0 in round 1 seems to kill its hosts");
}

/// Runs a plan whose first job or group loses three hosts, after which the run says this.
pub(super) fn hosts_are_lost(plan: FederationPlan, said: &str) {
    let (broker, record) = (sound(), Record::new());
    let (tell, begun) = std::sync::mpsc::channel();
    let late = broker.clone();
    // Each begins the one job, and loses its network for good.
    thread::spawn(move || {
        for _ in 0..3 {
            let doomed = Worker::start(&late, 1, endless());
            begun.recv().unwrap();
            doomed.line.cut();
        }
    });
    let mut lane = None;
    let error = coordinate(plan, &broker, &record, move |event| {
        if let Event::Progress { lane: of, .. } = event
            && lane.replace(*of) != Some(*of)
        {
            tell.send(()).unwrap();
        }
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
    assert_eq!(broker.holds().0, 0, "the next host would take it");
}

#[test]
fn a_host_that_falls_silent_again_and_again_is_not_killed_by_its_job() {
    let expected = local(plan(2, 2, 1));
    let (broker, record) = (sound(), Record::new());
    let silent = Worker::start(&broker, 1, endless());
    let (tell, begun) = std::sync::mpsc::channel();
    let late = broker.clone();
    let other = thread::spawn(move || {
        begun.recv().unwrap();
        for _ in 0..4 {
            silent.line.cut();
            thread::sleep(timing().silence * 3 / 2);
            silent.line.mend();
            thread::sleep(timing().silence);
        }
        silent.stop.send_replace(true);
        assert_eq!(silent.end().unwrap(), WorkerEnd::Stopped);
        Worker::start(&late, 1, Toy::default()).end()
    });
    coordinate(plan(2, 2, 1), &broker, &record, move |event| {
        if let Event::Progress { .. } = event {
            let _ = tell.send(());
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(other.join().unwrap().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_coordinator_that_is_killed_and_resumed_uses_what_hosts_did_meanwhile() {
    coordinator_is_killed(|| eventful(6));
}

/// Runs a plan, kills the coordinator in round 3, and resumes what that leaves.
pub(super) fn coordinator_is_killed(plan: impl Fn() -> FederationPlan) {
    let expected = local(plan());
    let (broker, record) = (sound(), Record::new());
    let worker = Worker::start(&broker, 2, slow());
    let line = Line::default();
    let (dying, copy) = (broker.over(&line), Arc::new(std::sync::Mutex::new(None)));
    let (from, to) = (record.path().to_owned(), copy.clone());
    let whole = plan();
    let first = thread::spawn(move || {
        let record = record;
        // Its end does not matter: what it does after the kill is not in the copy.
        let _ = run_on(whole, &dying, &record, move |event| {
            if let Event::UpdateReceived { round: 3, .. } = event {
                let mut copy = to.lock().unwrap();
                if copy.is_none() {
                    line.cut();
                    *copy = Some(Record::copy_of(&from));
                }
            }
        })
        .start();
    });
    crate::common::wait_until("the coordinator is killed", || {
        copy.lock().unwrap().is_some()
    });
    let left = copy.lock().unwrap().take().unwrap();
    run_on(plan(), &broker, &left, |_| {}).resume().unwrap();
    assert_eq!(left.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    // The first finds out that it is no longer the coordinator, or waits for lanes; it ends with the
    // process.
    drop(first);
}
