//! Who may train, who leaves, and a run that is told to stop.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use regatta_actors::Run;
use regatta_actors::lanes::Lanes;
use regatta_actors::lanes::memory::{Line, MemoryBroker};
use regatta_actors::lanes::worker::{WorkerEnd, WorkerError};
use regatta_actors::observe::control::{ControlHandle, Unconfirmed, control};
use regatta_actors::observe::hosts::OWN_PROCESS;
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{EndReason, RunError, RunOutcome};

use crate::common::{Record, Toy, Trouble, plan};
use crate::remote::{Worker, coordinate, local, patient, run_on, settings, slow, sound};

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
    let ((broker, patient), record) = (patient(), Record::new());
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
                // It is marked, or gone already.
                let mut left = left.iter();
                assert!(left.all(|(id, host)| *id != hosts[0].0 || host.draining));
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
