//! Runs whose lanes are on other hosts, over a broker in memory that behaves badly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proptest::prelude::*;
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
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::{ControlHandle, Unconfirmed, control};
use regatta_actors::observe::hosts::OWN_PROCESS;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Fault, FaultKind};
use regatta_actors::prelude::*;
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{EndReason, RunError, RunOutcome};
use tokio::sync::watch;

use crate::common::{Events, Record, Toy, Trouble, plan};

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
    // Of 28 updates, those of one round, and the states of two; two blobs each.
    let most = most.recv().unwrap();
    assert!((2..=12).contains(&most), "{most}");
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
fn a_host_that_is_cut_off_loses_its_jobs_and_joins_again() {
    let expected = local(eventful(4));
    let (broker, record) = (sound(), Record::new());
    let lost = Worker::start(&broker, 1, slow());
    let line = lost.line.clone();
    let (joined, late) = (AtomicU32::new(0), broker.clone());
    let (tell, other) = std::sync::mpsc::channel();
    coordinate(eventful(4), &broker, &record, move |event| {
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

fn endless() -> Toy {
    Toy {
        trouble: Trouble::Endless,
        ..Toy::default()
    }
}

#[test]
fn a_job_whose_hosts_are_lost_again_and_again_ends_the_run_and_leaves_the_queue() {
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
    let error = coordinate(plan(1, 2, 1), &broker, &record, move |event| {
        if let Event::Progress { lane: of, .. } = event
            && lane.replace(*of) != Some(*of)
        {
            tell.send(()).unwrap();
        }
    });
    let error = error.unwrap_err().to_string();
    let named = "client 0 in round 1 seems to kill its hosts";
    assert!(error.contains(named), "{error}");
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
    let plan = || eventful(6);
    let expected = local(plan());
    let (broker, record) = (sound(), Record::new());
    let worker = Worker::start(&broker, 2, slow());
    let line = Line::default();
    let (dying, copy) = (broker.over(&line), Arc::new(std::sync::Mutex::new(None)));
    let (from, to) = (record.path().to_owned(), copy.clone());
    let first = thread::spawn(move || {
        let record = record;
        // Its end does not matter: what it does after the kill is not in the copy.
        let _ = run_on(plan(), &dying, &record, move |event| {
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

#[test]
fn a_second_coordinator_is_refused_and_told_who_has_the_run() {
    let broker = sound();
    let (mine, record) = (broker.clone(), Record::new());
    let first = thread::spawn(move || coordinate(plan(2, 3, 1), &mine, &record, |_| {}));
    crate::common::wait_until("there is a coordinator", || broker.coordinator().is_some());
    let refused = coordinate(plan(2, 1, 1), &broker, &Record::new(), |_| {});
    let refused = refused.unwrap_err().to_string();
    let held = "the run has a coordinator already: coordinator (";
    assert!(refused.contains(held), "{refused}");
    let worker = Worker::start(&broker, 1, Toy::default());
    assert_eq!(first.join().unwrap().unwrap().rounds, 3);
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_host_with_another_model_or_program_is_refused_with_both_values() {
    let (broker, record) = (sound(), Record::new());
    let stranger = Worker::with(&broker, 1, Toy::default(), |settings| {
        settings.build = "toy 2".into();
    });
    let worker = Worker::start(&broker, 1, slow());
    coordinate(plan(2, 3, 1), &broker, &record, |_| {}).unwrap();
    let refused = stranger.end().unwrap_err().to_string();
    assert!(
        refused.contains("toy 2") && refused.contains("toy 1"),
        "{refused}"
    );
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_host_whose_run_has_no_coordinator_any_more_is_not_invited() {
    let late = Worker::with(&sound(), 1, Toy::default(), |settings| {
        settings.timing.without_invitation = Duration::from_millis(50);
    });
    assert!(matches!(late.end(), Err(WorkerError::NotInvited)));
}

#[test]
fn a_host_that_is_told_to_leave_gives_its_job_back_at_once() {
    let expected = local(plan(4, 3, 1));
    let (broker, record) = (sound(), Record::new());
    let leaving = Worker::start(
        &broker,
        1,
        Toy {
            trouble: Trouble::Endless,
            ..Toy::default()
        },
    );
    let stop = leaving.stop.clone();
    let (tell, other) = std::sync::mpsc::channel();
    let late = broker.clone();
    let mut once = Some(tell);
    coordinate(plan(4, 3, 1), &broker, &record, move |event| {
        if let Event::Progress { .. } = event
            && let Some(tell) = once.take()
        {
            stop.send_replace(true);
            tell.send(Worker::start(&late, 1, Toy::default())).unwrap();
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(leaving.end().unwrap(), WorkerEnd::Stopped);
    assert_eq!(other.recv().unwrap().end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_host_that_is_drained_does_its_jobs_and_leaves_and_none_is_done_twice() {
    let expected = local(plan(4, 6, 1));
    // Nobody is taken for lost here, however busy the machine is.
    let mut patient = settings();
    patient.timing.silence = Duration::from_secs(60);
    let (broker, record) = (
        MemoryBroker::new(patient.timing.silence, Mischief::default()),
        Record::new(),
    );
    let workers = [1, 1].map(|lanes| {
        Worker::with(&broker, lanes, slow(), |worker| {
            worker.timing = patient.timing;
        })
    });
    let (handle, control) = control();
    let (events, seen) = std::sync::mpsc::channel();
    let connect = broker.clone();
    let mut two = plan(4, 6, 1);
    two.lanes = 2;
    Run::new(two, Arc::new(Toy::default()))
        .observed_by(vec![Box::new(move |event: &Event| {
            if let Event::RoundStarted { round: 2, .. } = event {
                let hosts = handle.hosts().snapshot();
                assert_eq!(hosts.len(), 2);
                let done = hosts.iter().map(|(_, host)| host.jobs_done);
                assert_eq!(done.sum::<u64>(), 4);
                assert!(hosts.iter().all(|(_, host)| host.lanes.len() == 1));
                let wait = Duration::from_secs(60);
                let unknown = handle.drain("nobody", wait);
                assert!(matches!(unknown, Err(Unconfirmed::Refused(_))));
                handle.drain(&hosts[0].0, wait).unwrap();
                let left = handle.hosts().snapshot();
                assert!(!left.contains(&hosts[0]), "it is marked, or gone already");
            }
            let _ = events.send(event.clone());
        })])
        .controlled_by(control)
        .recorded_in(&record.files())
        .on(Lanes::remote(move || async move { Ok(connect) }, patient))
        .start()
        .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    let mut ends = workers.map(|worker| worker.end().unwrap());
    ends.sort_by_key(|end| *end != WorkerEnd::Drained);
    assert_eq!(ends, [WorkerEnd::Drained, WorkerEnd::RunOver]);
    let events: Vec<_> = seen.iter().collect();
    let is_redone = |event: &Event| matches!(event, Event::JobRedone { .. });
    assert!(!events.iter().any(is_redone));
    let left = events.iter().find_map(|event| match event {
        Event::HostLeft { lost, reason, .. } => Some((*lost, reason.as_str())),
        _ => None,
    });
    assert_eq!(left, Some((false, "it was drained")));
    assert_eq!(broker.deliveries(), 24, "a job was given out twice");
}

#[test]
fn a_run_on_its_own_lanes_is_its_only_host() {
    let (handle, control) = control();
    Run::new(plan(4, 2, 1), Arc::new(Toy::default()))
        .controlled_by(control)
        .start()
        .unwrap();
    let hosts = handle.hosts().snapshot();
    let [(id, own)] = &hosts[..] else {
        panic!("{hosts:?}");
    };
    assert_eq!((id.as_str(), own.heard), (OWN_PROCESS, None));
    assert_eq!((own.lanes.len(), own.jobs_done), (1, 8));
}

/// Starts a run whose coordinator has a line of its own to the broker.
fn steered(
    record: &Record,
    broker: MemoryBroker,
    on_event: impl FnMut(&Event) + Send + 'static,
) -> (ControlHandle, JoinHandle<Result<RunOutcome, RunError>>) {
    let (handle, control) = control();
    let run = run_on(plan(4, 3, 1), &broker, record, on_event).controlled_by(control);
    (handle, thread::spawn(move || run.start()))
}

#[test]
fn a_run_without_a_lane_that_is_told_to_stop_ends_and_can_be_resumed() {
    let expected = local(plan(4, 3, 1));
    let (broker, record) = (sound(), Record::new());
    let (handle, run) = steered(&record, broker.clone(), |_| {});
    crate::common::wait_until("there is a coordinator", || broker.coordinator().is_some());
    assert!(handle.send(ControlCommand::FinishRound));
    let outcome = run.join().unwrap().unwrap();
    assert_eq!(
        (outcome.ending, outcome.rounds),
        (EndReason::StoppedAtOnce, 0)
    );
    resumes_to(&expected, &record);
}

#[test]
fn a_run_whose_broker_is_away_and_that_is_told_to_stop_ends_and_can_be_resumed() {
    let expected = local(plan(4, 3, 1));
    let (broker, record, line) = (sound(), Record::new(), Line::default());
    let worker = Worker::start(&broker, 1, slow());
    let (tell, cut) = std::sync::mpsc::channel();
    let cuts = line.clone();
    let (handle, run) = steered(&record, broker.over(&line), move |event| {
        if let Event::ClientState { round: 2, .. } = event {
            cuts.cut();
            let _ = tell.send(());
        }
    });
    cut.recv().unwrap();
    assert!(handle.send(ControlCommand::FinishRound));
    let outcome = run.join().unwrap().unwrap();
    assert_eq!(
        (outcome.ending, outcome.rounds),
        (EndReason::StoppedAtOnce, 1)
    );
    worker.stop.send_replace(true);
    assert_eq!(worker.end().unwrap(), WorkerEnd::Stopped);
    resumes_to(&expected, &record);
}

/// Resumes what was recorded, with another broker and another host.
fn resumes_to(expected: &Record, record: &Record) {
    let broker = sound();
    let worker = Worker::start(&broker, 1, Toy::default());
    let run = run_on(plan(4, 3, 1), &broker, record, |_| {});
    assert_eq!(run.resume().unwrap().ending, EndReason::Complete);
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn jobs_that_are_done_and_those_that_are_done_again_are_told_with_their_host() {
    let (broker, record) = (sound(), Record::new());
    let leaving = Worker::start(&broker, 1, endless());
    let stop = leaving.stop.clone();
    let (told, late) = (Events::default(), broker.clone());
    let (mut heard, mut other) = (told.clone(), None);
    coordinate(plan(4, 3, 1), &broker, &record, move |event| {
        heard.on_event(event);
        if let Event::Progress { .. } = event
            && other.is_none()
        {
            stop.send_replace(true);
            other = Some(Worker::start(&late, 1, Toy::default()));
        }
    })
    .unwrap();
    leaving.end().unwrap();
    let told = told.all();
    let joined = told.iter().filter_map(|event| match event {
        Event::HostJoined { host, .. } => Some(host.clone()),
        _ => None,
    });
    let [first, second] = joined.collect::<Vec<_>>().try_into().unwrap();
    let redone: Vec<_> = (told.iter())
        .filter_map(|event| match event {
            Event::JobRedone { host, reason, .. } => Some((host.clone(), reason)),
            _ => None,
        })
        .collect();
    assert_eq!(redone.len(), 1);
    assert_eq!(redone[0].0.as_ref(), Some(&first));
    assert!(
        redone[0].1.ends_with("lane 0: the host leaves"),
        "{redone:?}"
    );
    let by_second =
        |event: &&Event| matches!(event, Event::JobDone { host, .. } if *host == second);
    assert_eq!(told.iter().filter(by_second).count(), 4 * 3);
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

/// Runs a plan on a host that does not do all its jobs and one that does.
fn sound_host_makes_up_for(toy: Toy) {
    let expected = local(plan(3, 2, 1));
    let (broker, record) = (sound(), Record::new());
    let workers = [toy, Toy::default()].map(|toy| Worker::start(&broker, 1, toy));
    let mut two = plan(3, 2, 1);
    two.lanes = 2;
    coordinate(two, &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    for worker in workers {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn a_job_without_room_on_one_host_is_done_on_another_and_on_none_ends_the_run() {
    let full = || Toy {
        trouble: Trouble::OutOfMemory(1, 1),
        ..Toy::default()
    };
    sound_host_makes_up_for(full());
    let (broker, record) = (sound(), Record::new());
    let alone = Worker::start(&broker, 1, full());
    let error = coordinate(plan(3, 2, 1), &broker, &record, |_| {}).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("no host has room for client 1 in round 1"),
        "{error}"
    );
    alone.stop.send_replace(true);
    assert_eq!(alone.end().unwrap(), WorkerEnd::Stopped);
}

#[test]
fn a_job_that_fails_on_a_broken_device_is_done_elsewhere() {
    let broken = Toy {
        trouble: Trouble::JobFails(1, 1),
        ..Toy::default()
    };
    sound_host_makes_up_for(broken);
}

#[test]
fn a_client_that_fails_everywhere_fails_as_it_does_locally() {
    let failing = || Toy {
        trouble: Trouble::JobFails(1, 1),
        ..Toy::default()
    };
    let expected = Record::new();
    expected.record(plan(3, 2, 1), failing()).unwrap();
    let (broker, record) = (sound(), Record::new());
    let workers = [1, 1].map(|lanes| Worker::start(&broker, lanes, failing()));
    coordinate(plan(3, 2, 1), &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    for worker in workers {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn a_lane_that_hangs_is_given_up_and_its_job_done_elsewhere() {
    let hanging = Toy {
        trouble: Trouble::Hangs(1, 1),
        ..Toy::default()
    };
    let released = hanging.released.clone();
    let expected = local(plan(3, 2, 1));
    let (broker, record) = (sound(), Record::new());
    let hung = Worker::with(&broker, 1, hanging, |settings| {
        settings.watchdog = Some(Duration::from_millis(300));
    });
    let worker = Worker::start(&broker, 1, Toy::default());
    let mut two = plan(3, 2, 1);
    two.lanes = 2;
    coordinate(two, &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    released.store(1, Ordering::SeqCst);
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    // It left for want of a lane, or heard the end of the run in time.
    let _ = hung.end();
}

#[test]
fn without_a_lane_for_too_long_a_run_ends_and_can_be_resumed() {
    let expected = local(plan(3, 3, 1));
    let (broker, record) = (sound(), Record::new());
    let worker = Worker::start(&broker, 1, slow());
    let stop = worker.stop.clone();
    let mut impatient = settings();
    impatient.timing.without_lanes = Duration::from_millis(500);
    let connect = broker.clone();
    let error = Run::new(plan(3, 3, 1), Arc::new(Toy::default()))
        .observed_by(vec![Box::new(move |event: &Event| {
            if let Event::RoundStarted { round: 2, .. } = event {
                stop.send_replace(true);
            }
        })])
        .recorded_in(&record.files())
        .on(Lanes::remote(move || async move { Ok(connect) }, impatient))
        .start()
        .unwrap_err();
    assert!(
        error.to_string().contains("no host has offered a lane"),
        "{error}"
    );
    assert_eq!(worker.end().unwrap(), WorkerEnd::Stopped);
    let broker = sound();
    let worker = Worker::start(&broker, 1, Toy::default());
    run_on(plan(3, 3, 1), &broker, &record, |_| {})
        .resume()
        .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_broker_does_the_ledger_is_that_of_a_local_run(
        seed in any::<u64>(),
        fail in 0.0..0.1,
        lose in 0.0..0.1,
        double in 0.0..0.2,
        reorder in any::<bool>(),
        delay in 0_u64..2,
        hosts in prop::collection::vec(1_u32..3, 1..4),
        forgets in 0_usize..3,
        verified in 0.0..1.0,
    ) {
        let expected = local(eventful(4));
        let delay = Duration::from_millis(delay);
        let mischief = Mischief { fail, lose, double, reorder, delay, seed };
        let (broker, record) = (MemoryBroker::new(LEASE, mischief), Record::new());
        let workers: Vec<_> = hosts.iter().map(|lanes| Worker::start(&broker, *lanes, slow())).collect();
        let (forgetful, mut left) = (broker.clone(), forgets);
        // The first calls may fail, as those of a broker that is not there yet.
        let outcome = loop {
            let forgetful = forgetful.clone();
            let record = &record;
            let settings = RemoteSettings {
                verified: VerifiedShare::new(verified).unwrap(),
                ..settings()
            };
            let outcome = run_with(settings, eventful(4), &broker, record, move |event| {
                if matches!(event, Event::UpdateReceived { .. }) && left > 0 {
                    left -= 1;
                    forgetful.forget_all();
                }
            });
            match if record.path().join("events.jsonl").exists() { outcome.resume() } else { outcome.start() } {
                Err(RunError::Lanes(reason)) if reason.contains("as the test wants") => left = 0,
                outcome => break outcome,
            }
        };
        prop_assert_eq!(outcome.map(|outcome| outcome.rounds), Ok(4));
        prop_assert_eq!(record.ledger(), expected.ledger());
        for worker in &workers {
            worker.stop.send_replace(true);
        }
        for worker in workers {
            // The note that the run is over may have been lost.
            prop_assert!(worker.end().is_ok());
        }
    }
}
