//! Whole runs of the toy workload that meet no trouble.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::common::{STEPS, Toy, Trouble, plan, run};
use regatta_actors::ids::{ClientId, LaneId};
use regatta_actors::plan::fault::{Fault, FaultKind};
use regatta_actors::plan::policy::{Late, RoundPolicy};
use regatta_actors::plan::profile::Profile;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{EndReason, RunError};
use regatta_actors::protocol::round_record::Outcome;

#[test]
fn every_round_aggregates_every_client_in_client_order() {
    let (result, events) = run(plan(4, 3, 2), Toy::default());
    let outcome = result.unwrap();
    assert_eq!((outcome.ending, outcome.rounds), (EndReason::Complete, 3));
    let rounds = events.rounds();
    assert_eq!(
        rounds.iter().map(|r| r.round).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    for round in &rounds {
        let ids: Vec<_> = round.clients.iter().map(|c| c.client.0).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert!(
            round
                .clients
                .iter()
                .all(|c| c.outcome == Outcome::Aggregated)
        );
        assert!(
            round
                .clients
                .iter()
                .all(|c| c.steps == STEPS && c.bytes_up == 24)
        );
        assert!(round.train_loss.is_some() && round.eval.is_some());
    }
    assert_eq!(rounds[0].clients[0].bytes_down, 1000);
    assert_eq!(rounds[1].clients[0].bytes_down, 24);
}

#[test]
fn lanes_and_delays_change_nothing() {
    let (_, reference) = run(plan(7, 4, 1), Toy::default());
    let reference = reference.rounds();
    assert_eq!(reference.len(), 4);
    for lanes in [1, 2, 4] {
        for _ in 0..3 {
            let toy = Toy {
                jitter: 300,
                ..Toy::default()
            };
            let (result, events) = run(plan(7, 4, lanes), toy);
            result.unwrap();
            assert_eq!(events.rounds(), reference, "with {lanes} lanes");
        }
    }
}

#[test]
fn another_seed_gives_another_result() {
    let (_, a) = run(plan(3, 1, 1), Toy::default());
    let (_, b) = run(
        plan(3, 1, 1),
        Toy {
            seed: 1,
            ..Toy::default()
        },
    );
    assert_ne!(a.rounds()[0].state_digest, b.rounds()[0].state_digest);
}

#[test]
fn updates_arrive_in_virtual_order_and_the_slowest_ends_the_round() {
    let mut plan = plan(3, 1, 2);
    // Client 0 is slow to train, client 1 slow to send.
    plan.clients[0].profile.speed = 1.0;
    plan.clients[1].profile = Profile {
        speed: 11.0,
        bandwidth_up: Some(12.0),
        bandwidth_down: Some(1000.0),
        latency: 0.5,
        ..Profile::default()
    };
    let (_, events) = run(plan, Toy::default());
    let arrivals = events.all().into_iter().filter_map(|event| match event {
        Event::UpdateReceived {
            client,
            virtual_seconds,
            ..
        } => Some((client.0, virtual_seconds)),
        _ => None,
    });
    // Client 1: 0.5 s + 1000 B down, 11 examples at 11/s, 0.5 s + 24 B up.
    assert_eq!(
        arrivals.collect::<Vec<_>>(),
        [(2, 0.12), (1, 5.0), (0, 10.0)]
    );
    assert_eq!(events.rounds()[0].virtual_seconds, 10.0);
}

#[test]
fn evaluation_comes_every_so_often_and_at_the_end() {
    let mut plan = plan(2, 5, 1);
    plan.eval_every = 2;
    let (_, events) = run(plan.clone(), Toy::default());
    let evaluated: Vec<_> = events.rounds().iter().map(|r| r.eval.is_some()).collect();
    assert_eq!(evaluated, [false, true, false, true, true]);
    plan.eval_every = 0;
    let (_, events) = run(plan, Toy::default());
    assert!(events.rounds().iter().all(|r| r.eval.is_none()));
}

#[test]
fn a_refused_update_is_recorded_and_the_round_goes_on() {
    let toy = Toy {
        trouble: Trouble::Refuse(1, 2),
        ..Toy::default()
    };
    let (result, events) = run(plan(3, 2, 1), toy);
    result.unwrap();
    let rounds = events.rounds();
    assert!(rounds[0].refused.is_empty());
    assert_eq!(rounds[1].refused[0].client, ClientId(1));
    assert_eq!(rounds[1].clients[1].outcome, Outcome::Refused);
    assert_eq!(rounds[1].clients[2].outcome, Outcome::Aggregated);
}

#[test]
fn clients_with_a_lane_of_their_own_have_it_to_themselves() {
    let mut plan = plan(5, 3, 3);
    plan.clients[2].lane = Some(LaneId(1));
    let toy = Toy::default();
    let places = toy.places.clone();
    run(plan, toy).0.unwrap();
    let places = places.lock().unwrap();
    assert_eq!(places.len(), 15);
    for &(client, lane) in places.iter() {
        assert_eq!(client.0 == 2, lane.0 == 1, "client {client} on {lane:?}");
    }
}

#[test]
fn the_folder_finishes_once_at_the_end() {
    let toy = Toy::default();
    let finished = toy.finished.clone();
    run(plan(2, 3, 1), toy).0.unwrap();
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}

#[test]
fn observers_are_told_how_far_predictions_are_and_the_ledger_is_not() {
    let (_, events) = run(plan(2, 2, 1), Toy::default());
    let told = |event: &&Event| matches!(event, Event::Predicting { done: 1, total: 1 });
    let all = events.all();
    let found: Vec<_> = all.iter().filter(told).collect();
    assert!(found.len() == 1 && !found[0].is_recorded(), "{found:?}");
}

#[test]
fn events_begin_and_end_the_run_and_show_each_client_at_work() {
    let (_, events) = run(plan(3, 2, 2), Toy::default());
    let all = events.all();
    assert!(matches!(all.first(), Some(Event::RunStarted { clients, .. }) if clients.len() == 3));
    assert!(matches!(
        all.last(),
        Some(Event::RunFinished {
            rounds: 2,
            error: None,
            ..
        })
    ));
    let mut seen = BTreeSet::new();
    for event in &all {
        if let Event::ClientState { client, state, .. } = event {
            seen.insert((client.0, *state));
        }
    }
    for client in 0..3 {
        for state in [
            ClientState::Queued,
            ClientState::Training,
            ClientState::Sent,
        ] {
            assert!(seen.contains(&(client, state)), "{client} never {state:?}");
        }
    }
    let json = serde_json::to_string(all.last().unwrap()).unwrap();
    assert!(json.contains(r#""event":"run_finished""#), "{json}");
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let mut plan = plan(2, 0, 0);
    plan.clients[1].name = "client-0".into();
    plan.clients[0].profile.speed = 0.0;
    plan.policy = RoundPolicy::Quorum {
        updates: 3,
        late: Late::Cancel,
    };
    plan.faults = vec![
        Fault::new(FaultKind::LostUpdate),
        Fault::new(FaultKind::LostUpdate).on([2]),
    ];
    let (result, events) = run(plan, Toy::default());
    let Err(RunError::Plan(errors)) = result else {
        panic!("it ran: {result:?}");
    };
    let paths: Vec<_> = errors.0.iter().map(|error| error.path.as_str()).collect();
    let wrong = [
        "rounds",
        "lanes",
        "clients[0].profile.speed",
        "clients[1].name",
        "faults[1].clients[0]",
        "policy.updates",
    ];
    assert_eq!(paths, wrong, "{errors}");
    assert!(events.all().is_empty());
}

#[test]
fn a_thousand_clients_take_turns_on_two_lanes() {
    let (result, events) = run(plan(1000, 2, 2), Toy::default());
    result.unwrap();
    assert!(events.rounds().iter().all(|r| r.clients.len() == 1000));
}
