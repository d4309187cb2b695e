//! Each fault kind, alone.
//!
//! The fleet: three clients of 10, 11 and 12 examples that train 10 a second, so that a round
//! takes 1, 1.1 and 1.2 s.

use crate::common::{self, Events, STEPS, Toy, play, run};
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind, FaultName, RoundRange, Slowdown};
use regatta_actors::plan::policy::{Late, RoundPolicy};
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::round_record::Outcome;
use regatta_actors::protocol::round_record::Outcome::*;

fn plan(rounds: u32, faults: Vec<Fault>) -> FederationPlan {
    let mut plan = common::plan(3, rounds, 2);
    for client in &mut plan.clients {
        client.profile.speed = 10.0;
    }
    plan.restart.backoff = 0.01;
    FederationPlan { faults, ..plan }
}

/// The outcomes of a round's three clients.
fn outcomes(events: &Events, round: u32) -> Vec<Outcome> {
    events.outcomes(round).into_iter().map(|(_, o)| o).collect()
}

fn once(kind: FaultKind) -> Fault {
    Fault::new(kind).on([1]).in_rounds(2, 2)
}

fn assert_times(events: &Events, expected: &[f64]) {
    let times = events.times();
    assert_eq!(times.len(), expected.len());
    for (time, expected) in times.iter().zip(expected) {
        assert!((time - expected).abs() < 1e-6, "{times:?}");
    }
}

fn straggle(slowdown: Slowdown) -> FaultKind {
    FaultKind::Straggle { slowdown }
}

#[test]
fn a_straggler_takes_longer_and_learns_the_same() {
    let slow = straggle(Slowdown::Factor { factor: 3.0 });
    let events = play(plan(3, vec![once(slow)]));
    assert_times(&events, &[1.2, 4.5, 5.7]);
    let undisturbed = play(plan(3, vec![]));
    let digests = |events: Events| {
        let rounds = events.rounds().into_iter();
        rounds.map(|r| r.state_digest).collect::<Vec<_>>()
    };
    assert_eq!(digests(events), digests(undisturbed));
}

#[test]
fn a_slowdown_can_be_drawn_from_a_distribution() {
    for slowdown in [
        Slowdown::Uniform {
            low: 5.0,
            high: 6.0,
        },
        Slowdown::LogNormal {
            median: 5.5,
            sigma: 0.01,
        },
        Slowdown::Pareto { shape: 0.6 },
    ] {
        let mut durations = play(plan(6, vec![Fault::new(straggle(slowdown))])).times();
        for i in (1..durations.len()).rev() {
            durations[i] -= durations[i - 1];
        }
        assert!(durations.iter().all(|&d| d >= 1.2), "{durations:?}");
        assert!(durations.windows(2).all(|d| d[0] != d[1]), "{durations:?}");
        if let Slowdown::Uniform { .. } = slowdown {
            assert!(durations.iter().all(|&d| (5.0..7.2).contains(&d)));
        }
    }
}

#[test]
fn a_client_that_drops_at_the_start_costs_no_time_and_is_back_in_the_next_round() {
    let drop = FaultKind::Drop {
        at: 0.0,
        rejoin: None,
    };
    let fault = Fault::new(drop).on([2]).in_rounds(2, 2);
    let events = play(plan(3, vec![fault]));
    assert_eq!(outcomes(&events, 2), [Aggregated, Aggregated, Dropped]);
    assert_eq!(outcomes(&events, 3), [Aggregated; 3]);
    assert_times(&events, &[1.2, 2.3, 3.5]);
    let part = &events.rounds()[1].clients[2];
    assert_eq!((part.steps, part.bytes_down, part.bytes_up), (0, 0, 0));
}

#[test]
fn a_client_that_drops_in_mid_round_ends_at_the_batch_of_the_plan_and_rejoins_when_it_says() {
    let drop = FaultKind::Drop {
        at: 0.5,
        rejoin: Some(4),
    };
    let events = play(plan(4, vec![once(drop)]));
    assert_eq!(outcomes(&events, 2), [Aggregated, Dropped, Aggregated]);
    assert_eq!(outcomes(&events, 3), [Aggregated; 2]);
    assert_eq!(outcomes(&events, 4), [Aggregated; 3]);
    // Half of 5 steps is reached with the third.
    assert_eq!(events.rounds()[1].clients[1].steps, 3);
    let dropped = events.all().into_iter().find_map(|event| match event {
        Event::ClientDropped {
            virtual_seconds, ..
        } => Some(virtual_seconds),
        _ => None,
    });
    assert_eq!(dropped, Some(1.75));
}

#[test]
fn a_client_that_crashes_is_restarted_and_is_back_with_all_to_download() {
    let events = play(plan(4, vec![once(FaultKind::Crash { at: 0.2 })]));
    assert_eq!(outcomes(&events, 2), [Aggregated, Failed, Aggregated]);
    assert_eq!(events.rounds()[1].clients[1].steps, 1);
    assert_eq!(outcomes(&events, 3), [Aggregated; 3]);
    assert_eq!(events.rounds()[2].clients[1].bytes_down, 1000);
    assert_eq!(events.rounds()[2].clients[0].bytes_down, 24);
    let all = events.all();
    let restarting = |e: &Event| {
        let state = ClientState::Restarting;
        matches!(e, Event::ClientState { state: s, .. } if *s == state)
    };
    assert!(all.iter().any(restarting));
}

#[test]
fn a_lane_that_fails_loses_its_job_and_gets_a_new_trainer() {
    let toy = Toy::default();
    let built = toy.built.clone();
    let fault = once(FaultKind::LaneFailure { at: 1.0 });
    let (result, events) = run(plan(3, vec![fault]), toy);
    result.unwrap();
    assert_eq!(outcomes(&events, 2), [Aggregated, Failed, Aggregated]);
    assert_eq!(events.rounds()[1].clients[1].steps, STEPS);
    assert_eq!(outcomes(&events, 3), [Aggregated; 3]);
    // Two lanes and the one that failed.
    assert_eq!(built.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[test]
fn a_slow_link_stretches_both_ways() {
    let mut plan = plan(
        1,
        vec![Fault::new(FaultKind::SlowLink { factor: 4.0 }).on([1])],
    );
    plan.clients[1].profile.latency = 0.1;
    plan.clients[1].profile.bandwidth_up = Some(240.0);
    plan.clients[1].profile.bandwidth_down = Some(10_000.0);
    // 4 · (0.1 + 1000 B / 10 kB/s) + 1.1 + 4 · (0.1 + 24 B / 240 B/s)
    assert_times(&play(plan), &[2.7]);
}

#[test]
fn a_lost_update_is_missed_when_it_should_have_come() {
    let events = play(plan(2, vec![once(FaultKind::LostUpdate)]));
    assert_eq!(outcomes(&events, 2), [Aggregated, Lost, Aggregated]);
    assert_times(&events, &[1.2, 2.4]);
    let lost = |e: &Event| matches!(e, Event::UpdateLost { .. });
    assert_eq!(events.all().iter().filter(|e| lost(e)).count(), 1);
}

#[test]
fn a_duplicate_is_told_and_not_aggregated_again() {
    let duplicate = FaultKind::DuplicateUpdate { delay: 0.05 };
    let events = play(plan(2, vec![once(duplicate)]));
    assert_eq!(outcomes(&events, 2), [Aggregated; 3]);
    let duplicates = |e: &Event| matches!(e, Event::UpdateDuplicated { .. });
    assert_eq!(events.all().iter().filter(|e| duplicates(e)).count(), 1);
    let undisturbed = play(plan(2, vec![]));
    assert_eq!(events.rounds(), undisturbed.rounds());
}

#[test]
fn a_late_update_takes_longer_on_its_way() {
    let late = FaultKind::LateUpdate { seconds: 2.0 };
    assert_times(&play(plan(2, vec![once(late)])), &[1.2, 4.3]);
}

#[test]
fn a_corrupt_update_is_refused_when_it_can_be_told_and_aggregated_when_not() {
    let undisturbed = play(plan(2, vec![])).rounds()[1].state_digest.clone();
    for (corruption, outcome) in [
        (Corruption::Nan, Refused),
        (Corruption::WrongShape, Refused),
        (Corruption::Noise { scale: 0.5 }, Aggregated),
        (Corruption::SignFlip, Aggregated),
    ] {
        let corrupt = FaultKind::CorruptUpdate { corruption };
        let events = play(plan(2, vec![once(corrupt)]));
        assert_eq!(outcomes(&events, 2), [Aggregated, outcome, Aggregated]);
        assert_ne!(events.rounds()[1].state_digest, undisturbed);
    }
}

#[test]
fn a_server_that_crashes_does_its_work_again_and_tells_nothing_twice() {
    let crash = FaultKind::ServerCrash { downtime: 7.0 };
    let faults = vec![Fault::new(crash).in_rounds(3, 3)];
    let events = play(plan(4, faults));
    assert_times(&events, &[1.2, 2.4, 10.6, 11.8]);
    let undisturbed = play(plan(4, vec![]));
    let digests = |events: &Events| {
        let rounds = events.rounds().into_iter();
        rounds
            .map(|r| (r.round, r.state_digest))
            .collect::<Vec<_>>()
    };
    assert_eq!(digests(&events), digests(&undisturbed));
    let names: Vec<_> = events.recorded().iter().map(name).collect();
    let crash = names.iter().position(|n| n == "server_crashed").unwrap();
    assert_eq!(names[crash + 1], "server_recovered");
    assert_eq!(names.iter().filter(|n| *n == "server_crashed").count(), 1);
}

fn name(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap();
    value["event"].as_str().unwrap().to_owned()
}

#[test]
fn every_fault_that_strikes_is_reported() {
    let drop = FaultKind::Drop {
        at: 0.0,
        rejoin: None,
    };
    let faults = vec![
        Fault::new(drop).on([0]),
        Fault::new(FaultKind::LostUpdate).with_probability(0.5),
    ];
    let events = play(plan(20, faults));
    let struck = events.all().into_iter().filter_map(|event| match event {
        Event::FaultInjected { fault, .. } => Some(fault),
        _ => None,
    });
    let struck: Vec<_> = struck.collect();
    let count = |name| struck.iter().filter(|&&f| f == name).count();
    assert_eq!(count(FaultName::Drop), 20);
    let lost = count(FaultName::LostUpdate);
    assert!(
        (15..45).contains(&lost),
        "{lost} of 60 at a probability of ½"
    );
}

#[test]
fn another_client_perturbs_no_client_s_faults() {
    let fault = || vec![Fault::new(FaultKind::LostUpdate).with_probability(0.4)];
    let few = play(plan(10, fault()));
    let mut more = common::plan(5, 10, 2);
    more.faults = fault();
    let more = play(more);
    for round in 1..=10 {
        assert_eq!(few.outcomes(round), more.outcomes(round)[..3]);
    }
}

#[test]
fn a_client_that_crashes_while_its_job_is_given_up_still_gets_the_next_one() {
    let rounds = 100;
    let every_other = |first: u32| {
        let rounds = (first..=rounds).step_by(2);
        Some(rounds.map(|r| RoundRange { from: r, to: r }).collect())
    };
    let fault = |kind, client, first| Fault {
        rounds: every_other(first),
        ..Fault::new(kind).on([client])
    };
    let slow = || straggle(Slowdown::Factor { factor: 100.0 });
    // Client 1 crashes after client 0 has closed the round, and the next round needs its update.
    let faults = vec![
        fault(slow(), 1, 1),
        fault(FaultKind::Crash { at: 0.5 }, 1, 1),
        fault(slow(), 0, 2),
    ];
    let mut plan = common::plan(2, rounds, 2);
    plan.faults = faults;
    plan.policy = RoundPolicy::Quorum {
        updates: 1,
        late: Late::Cancel,
    };
    let events = play(plan);
    assert_eq!(events.outcomes(1), [(0, Aggregated), (1, Outcome::Late)]);
    for round in 1..=rounds {
        let client = (round + 1) % 2;
        let outcomes = events.outcomes(round);
        assert!(outcomes.contains(&(client, Aggregated)), "{outcomes:?}");
    }
}
