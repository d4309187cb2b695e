//! Clients that are trained together on other hosts.

use std::collections::{BTreeMap, BTreeSet};

use regatta_actors::lanes::worker::WorkerEnd;
use regatta_actors::observe::Observer;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::policy::{Late, RoundPolicy};
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunOutcome;

use crate::common::{Events, Record, Toy, Trouble, plan};
use crate::groups::grouped;
use crate::remote::jobs::{
    device_is_lost, fails_as_locally, lane_hangs, only_device_is_lost, sound_host_makes_up_for,
};
use crate::remote::losses::{coordinator_is_killed, host_is_cut_off, hosts_are_lost};
use crate::remote::verified::{faulty, verified, worker};
use crate::remote::{
    Worker, coordinate, endless, eventful, local, patient, run_with, sound, troubled,
};

/// Two groups of three in each round.
fn two_groups(rounds: u32) -> FederationPlan {
    grouped(plan(6, rounds, 1), 3)
}

/// How often clients were trained together, by round and first client.
fn trainings(toys: &[Toy]) -> BTreeMap<(u32, u32), usize> {
    let mut count = BTreeMap::new();
    for toy in toys {
        for (round, clients) in toy.groups.lock().unwrap().iter() {
            *count.entry((*round, clients[0])).or_default() += 1;
        }
    }
    count
}

/// Each group of `two_groups(2)`, trained so often.
fn each(times: usize) -> BTreeMap<(u32, u32), usize> {
    [(1, 0), (1, 3), (2, 0), (2, 3)]
        .map(|group| (group, times))
        .into()
}

#[test]
fn groups_on_other_hosts_have_the_ledger_of_local_lanes() {
    for (hosts, together) in [(vec![1], 3), (vec![1, 2], 2), (vec![2, 1, 1], 5)] {
        let plan = grouped(eventful(4), together);
        let expected = local(plan.clone());
        assert!(expected.ledger() != local(eventful(4)).ledger());
        // Also where updates are too large for a message.
        for broker in [sound(), sound().with_largest_message(1)] {
            let record = Record::new();
            let hosts = hosts.iter();
            let workers = hosts.map(|lanes| Worker::start(&broker, *lanes, Toy::default()));
            let workers: Vec<_> = workers.collect();
            let outcome = coordinate(plan.clone(), &broker, &record, |_| {});
            assert_eq!(outcome.map(|outcome| outcome.rounds), Ok(4));
            assert_eq!(record.ledger(), expected.ledger());
            for worker in workers {
                assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
            }
            assert_eq!(broker.holds(), (0, 0, 0), "something is left in the broker");
        }
    }
}

#[test]
fn a_group_is_one_order_and_is_trained_once() {
    let ((broker, settings), record) = (patient(), Record::new());
    let toys = [Toy::default()];
    let host = worker(&broker, 1, toys[0].share());
    let told = Events::default();
    let mut heard = told.clone();
    let on_event = move |event: &Event| heard.on_event(event);
    run_with(settings, two_groups(2), &broker, &record, on_event)
        .start()
        .unwrap();
    assert_eq!(host.end().unwrap(), WorkerEnd::RunOver);
    assert_eq!(trainings(&toys), each(1));
    assert_eq!(broker.deliveries(), 4);
    let done = |event: &&Event| matches!(event, Event::JobDone { .. });
    assert_eq!(told.all().iter().filter(done).count(), 12);
}

#[test]
fn each_client_of_a_group_is_shown_on_its_lane_with_its_progress() {
    let ((broker, settings), record) = (patient(), Record::new());
    let dawdling = Toy {
        jitter: 20_000,
        ..Toy::default()
    };
    let host = worker(&broker, 1, dawdling);
    let told = Events::default();
    let mut heard = told.clone();
    let on_event = move |event: &Event| heard.on_event(event);
    run_with(settings, two_groups(2), &broker, &record, on_event)
        .start()
        .unwrap();
    assert_eq!(host.end().unwrap(), WorkerEnd::RunOver);
    let (mut training, mut moving) = (BTreeSet::new(), BTreeSet::new());
    for event in told.all() {
        match event {
            Event::ClientState {
                client,
                state: ClientState::Training,
                lane: Some(_),
                ..
            } => training.insert(client.0),
            Event::Progress { client, .. } => moving.insert(client.0),
            _ => false,
        };
    }
    assert_eq!(training, (0..6).collect());
    assert_eq!(moving, (0..6).collect());
}

#[test]
fn a_host_that_is_cut_off_in_a_group_loses_all_of_it_and_joins_again() {
    host_is_cut_off(grouped(eventful(4), 3));
}

#[test]
fn a_host_that_leaves_gives_back_the_jobs_of_all_clients_of_its_group() {
    let expected = local(two_groups(2));
    let (broker, record) = (sound(), Record::new());
    let leaving = Worker::start(&broker, 1, endless());
    let stop = leaving.stop.clone();
    let (told, late) = (Events::default(), broker.clone());
    let (mut heard, mut other) = (told.clone(), None);
    coordinate(two_groups(2), &broker, &record, move |event| {
        heard.on_event(event);
        if let Event::Progress { .. } = event
            && other.is_none()
        {
            stop.send_replace(true);
            other = Some(Worker::start(&late, 1, Toy::default()));
        }
    })
    .unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(leaving.end().unwrap(), WorkerEnd::Stopped);
    let redone = told.all().into_iter().filter_map(|event| match event {
        Event::JobRedone { client, reason, .. } => {
            assert!(reason.ends_with("lane 0: the host leaves"), "{reason}");
            Some(client.0)
        }
        _ => None,
    });
    assert_eq!(redone.collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_group_whose_hosts_are_lost_again_and_again_ends_the_run() {
    let said = "client 0 and the 2 that it is trained with in round 1 seem to kill their hosts";
    hosts_are_lost(grouped(plan(3, 2, 1), 3), said);
}

#[test]
fn a_coordinator_of_groups_that_is_killed_is_resumed_to_the_same_ledger() {
    coordinator_is_killed(|| grouped(eventful(6), 3));
}

#[test]
fn a_group_that_only_one_host_fails_is_done_on_another() {
    for trouble in [
        Trouble::JobFails(1, 1),
        Trouble::JobPanics(1, 1),
        Trouble::OutOfMemory(1, 1),
    ] {
        sound_host_makes_up_for(troubled(trouble), two_groups(2));
    }
}

#[test]
fn a_client_of_a_group_that_fails_everywhere_fails_alone_as_it_does_locally() {
    for trouble in [Trouble::JobFails(1, 1), Trouble::JobPanics(4, 2)] {
        fails_as_locally(trouble, &two_groups(2));
    }
}

#[test]
fn a_group_that_no_host_has_room_for_ends_the_run() {
    let (broker, record) = (sound(), Record::new());
    let alone = Worker::start(&broker, 1, troubled(Trouble::OutOfMemory(4, 1)));
    let error = coordinate(two_groups(2), &broker, &record, |_| {});
    let error = error.unwrap_err().to_string();
    let said = "no host has room for client 3 and the 2 that it is trained with in round 1";
    assert!(error.contains(said), "{error}");
    alone.stop.send_replace(true);
    assert_eq!(alone.end().unwrap(), WorkerEnd::Stopped);
}

#[test]
fn a_host_whose_device_is_lost_gives_its_group_to_another_and_leaves() {
    device_is_lost(&two_groups(2));
}

#[test]
fn a_device_that_is_lost_to_all_lanes_of_the_only_host_is_no_groups_failure() {
    only_device_is_lost(&two_groups(2));
}

#[test]
fn a_lane_that_hangs_with_a_group_is_given_up_and_the_group_done_elsewhere() {
    lane_hangs(&two_groups(2));
}

#[test]
fn a_verified_group_is_trained_on_two_hosts_once_each() {
    let mut plan = two_groups(2);
    // Both hosts are there from the first job on.
    plan.lanes = 2;
    let (expected, record, broker) = (local(plan.clone()), Record::new(), patient().0);
    let toys = [Toy::default(), Toy::default()];
    let workers = [0, 1].map(|host| worker(&broker, 1, toys[host].share()));
    let (outcome, compared) = verified(plan, &broker, &record);
    outcome.unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(compared.len(), 12, "{compared:?}");
    for (hosts, wrong) in compared {
        assert_eq!((hosts.len(), wrong.len()), (2, 0), "{hosts:?} {wrong:?}");
    }
    assert_eq!(trainings(&toys), each(2));
    for toy in &toys {
        assert!(
            trainings(std::slice::from_ref(toy))
                .values()
                .all(|times| *times == 1)
        );
    }
    for worker in workers {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn a_host_that_computes_groups_wrongly_is_outvoted() {
    let mut plan = two_groups(3);
    plan.lanes = 3;
    let (expected, record, broker) = (local(plan.clone()), Record::new(), patient().0);
    let bad = worker(&broker, 1, faulty());
    let good = [1, 1].map(|lanes| worker(&broker, lanes, Toy::default()));
    let (outcome, _) = verified(plan, &broker, &record);
    outcome.unwrap();
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(bad.end().unwrap(), WorkerEnd::Drained);
    for worker in good {
        assert_eq!(worker.end().unwrap(), WorkerEnd::RunOver);
    }
}

#[test]
fn a_group_that_nobody_waits_for_any_more_leaves_its_lane() {
    let mut plan = two_groups(3);
    for client in &mut plan.clients {
        client.profile.speed = if client.name.as_str() < "client-3" {
            1000.0
        } else {
            1.0
        };
    }
    plan.policy = RoundPolicy::Deadline {
        seconds: 1.0,
        late: Late::Cancel,
    };
    let expected = Record::new();
    expected.record(plan.clone(), Toy::default()).unwrap();
    let ((broker, settings), record) = (patient(), Record::new());
    // The second group is too late, and its lane is needed for the first of the next round.
    let host = worker(&broker, 1, troubled(Trouble::EndlessFrom(3)));
    let run = run_with(settings, plan, &broker, &record, |_| {});
    let outcome: RunOutcome = run.start().unwrap();
    assert_eq!(outcome.rounds, 3);
    assert_eq!(record.ledger(), expected.ledger());
    assert_eq!(host.end().unwrap(), WorkerEnd::RunOver);
}
