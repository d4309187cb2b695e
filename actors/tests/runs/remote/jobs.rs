//! Jobs that a host cannot do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use regatta_actors::lanes::worker::WorkerEnd;
use regatta_actors::observe::Observer;
use regatta_actors::plan::FederationPlan;
use regatta_actors::protocol::event::Event;

use crate::common::{Events, Record, Toy, Trouble, plan};
use crate::remote::{Worker, coordinate, endless, local, sound, troubled};

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

/// Runs a plan on a host that does not do all its jobs and one that does.
pub(super) fn sound_host_makes_up_for(toy: Toy, plan: FederationPlan) {
    let expected = local(plan.clone());
    let (broker, record) = (sound(), Record::new());
    let workers = [toy, Toy::default()].map(|toy| Worker::start(&broker, 1, toy));
    let two = FederationPlan { lanes: 2, ..plan };
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
    sound_host_makes_up_for(full(), plan(3, 2, 1));
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
    sound_host_makes_up_for(broken, plan(3, 2, 1));
}

#[test]
fn a_host_whose_device_is_lost_gives_its_job_to_another_and_leaves() {
    device_is_lost(&plan(3, 2, 1));
}

/// Runs a plan on two hosts of which one loses its device.
pub(super) fn device_is_lost(plan: &FederationPlan) {
    let broken = troubled(Trouble::DeviceLost(1, 1));
    let expected = local(plan.clone());
    let (broker, record) = (sound(), Record::new());
    let [broken, whole] = [broken, Toy::default()].map(|toy| Worker::start(&broker, 1, toy));
    let two = FederationPlan {
        lanes: 2,
        ..plan.clone()
    };
    coordinate(two, &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    // Unless the other was faster with that job.
    match broken.end() {
        Ok(end) => assert_eq!(end, WorkerEnd::RunOver),
        Err(error) => assert!(error.to_string().contains("no lane is left"), "{error}"),
    }
    assert_eq!(whole.end().unwrap(), WorkerEnd::RunOver);
}

#[test]
fn a_device_that_is_lost_to_all_lanes_of_the_only_host_is_no_clients_failure() {
    only_device_is_lost(&plan(3, 2, 1));
}

/// Runs a plan on a host whose lanes all lose their device, and another that comes when it has left.
pub(super) fn only_device_is_lost(plan: &FederationPlan) {
    let expected = local(plan.clone());
    let (broker, record) = (sound(), Record::new());
    let broken = Worker::start(&broker, 2, troubled(Trouble::DeviceLost(1, 1)));
    let (late, mut other) = (broker.clone(), None);
    coordinate(plan.clone(), &broker, &record, move |event| {
        if let Event::HostLeft { .. } = event
            && other.is_none()
        {
            other = Some(Worker::start(&late, 1, Toy::default()));
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    let error = broken.end().unwrap_err().to_string();
    assert!(error.contains("no lane is left"), "{error}");
}

#[test]
fn a_client_that_fails_everywhere_fails_as_it_does_locally() {
    fails_as_locally(Trouble::JobFails(1, 1), &plan(3, 2, 1));
}

/// Runs a plan on hosts that all have this trouble.
pub(super) fn fails_as_locally(trouble: Trouble, plan: &FederationPlan) {
    let expected = Record::new();
    expected.record(plan.clone(), troubled(trouble)).unwrap();
    let (broker, record) = (sound(), Record::new());
    let workers = [1, 1].map(|lanes| Worker::start(&broker, lanes, troubled(trouble)));
    coordinate(plan.clone(), &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    for worker in workers {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn a_lane_that_hangs_is_given_up_and_its_job_done_elsewhere() {
    lane_hangs(&plan(3, 2, 1));
}

/// Runs a plan on two hosts of which one hangs with client 1.
pub(super) fn lane_hangs(plan: &FederationPlan) {
    let hanging = troubled(Trouble::Hangs(1, 1));
    let released = hanging.released.clone();
    let expected = local(plan.clone());
    let (broker, record) = (sound(), Record::new());
    let hung = Worker::with(&broker, 1, hanging, |settings| {
        settings.watchdog = Some(Duration::from_millis(300));
    });
    let worker = Worker::start(&broker, 1, Toy::default());
    let two = FederationPlan {
        lanes: 2,
        ..plan.clone()
    };
    coordinate(two, &broker, &record, |_| {}).unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    released.store(1, Ordering::SeqCst);
    assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    // It left for want of a lane, or heard the end of the run in time.
    let _ = hung.end();
}
