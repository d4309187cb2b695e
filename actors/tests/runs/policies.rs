//! Each round policy, each sampling, each availability model, and rounds with too few updates.
//!
//! The fleet: client i has 10 + i examples and trains 10 a second, so it takes 1 + i/10 s.

use std::collections::BTreeMap;

use crate::common::{self, Events, Toy, play, run};
use regatta_actors::ids::ClientId;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::availability::{Availability, Interval};
use regatta_actors::plan::fault::{Fault, FaultKind, Slowdown};
use regatta_actors::plan::policy::{Late, MinUpdates, OnTooFew, RoundPolicy, Staleness};
use regatta_actors::plan::sampling::{SampleBy, SampleSize, Sampling, Utility};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunError;
use regatta_actors::protocol::round_record::Outcome::{self, Aggregated, Dropped, Lost, Refused};

fn plan(clients: u64, rounds: u32) -> FederationPlan {
    let mut plan = common::plan(clients, rounds, 2);
    for client in &mut plan.clients {
        client.profile.speed = 10.0;
    }
    plan
}

/// Makes a client N times slower, always.
fn slow(client: u32, factor: f64) -> Fault {
    let slowdown = Slowdown::Factor { factor };
    Fault::new(FaultKind::Straggle { slowdown }).on([client])
}

fn lost() -> Fault {
    Fault::new(FaultKind::LostUpdate)
}

fn selected(events: &Events) -> Vec<Vec<u32>> {
    let selected = events.all().into_iter().filter_map(|event| match event {
        Event::RoundStarted { clients, .. } | Event::ClientsSelected { clients, .. } => {
            Some(clients.into_iter().map(|c| c.0).collect())
        }
        _ => None,
    });
    selected.collect()
}

fn count(events: &Events, what: impl Fn(&Event) -> bool) -> usize {
    events.all().iter().filter(|event| what(event)).count()
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-6, "{found:?} is not {expected:?}");
    }
}

#[test]
fn a_deadline_refuses_who_is_late_and_asks_them_again() {
    let mut plan = plan(3, 2);
    plan.policy = RoundPolicy::Deadline {
        seconds: 2.0,
        late: Late::Cancel,
    };
    plan.faults = vec![slow(2, 5.0).in_rounds(1, 1)];
    let events = play(plan);
    assert_eq!(
        events.outcomes(1),
        [(0, Aggregated), (1, Aggregated), (2, Outcome::Late)]
    );
    assert_eq!(
        events.outcomes(2),
        [(0, Aggregated), (1, Aggregated), (2, Aggregated)]
    );
    assert_near(&events.times(), &[2.0, 3.2]);
}

#[test]
fn a_deadline_can_count_late_updates_as_stale() {
    let mut plan = plan(3, 4);
    plan.policy = RoundPolicy::Deadline {
        seconds: 2.0,
        late: Late::Discard,
    };
    plan.faults = vec![slow(2, 3.0).in_rounds(1, 1)];
    let events = play(plan);
    // Round 1 ends at 2 s; its late update comes at 3.6 s, in round 3, and its client is busy
    // until then.
    assert_near(&events.times(), &[2.0, 3.1, 4.2, 5.4]);
    assert_eq!(
        selected(&events),
        [vec![0, 1, 2], vec![0, 1], vec![0, 1], vec![0, 1, 2]]
    );
    let stale = |e: &Event| matches!(e, Event::UpdateStale { staleness: 2, .. });
    assert_eq!(count(&events, stale), 1);
    assert_eq!(events.outcomes(3).len(), 2);
}

#[test]
fn a_deadline_can_carry_late_updates_over_with_less_weight() {
    let carried = |staleness| {
        let mut plan = plan(3, 3);
        plan.policy = RoundPolicy::Deadline {
            seconds: 2.0,
            late: Late::Carry(staleness),
        };
        plan.faults = vec![slow(2, 3.0).in_rounds(1, 1)];
        play(plan)
    };
    let events = carried(Staleness::default());
    assert_eq!(events.outcomes(1)[2], (2, Outcome::Late));
    assert_eq!(
        events.outcomes(3),
        [(0, Aggregated), (1, Aggregated), (2, Aggregated)]
    );
    let other = carried(Staleness {
        exponent: 0.0,
        max: None,
    });
    let digest = |events: &Events| events.rounds()[2].state_digest.clone();
    assert_ne!(digest(&events), digest(&other));
    let too_stale = carried(Staleness {
        exponent: 0.5,
        max: Some(1),
    });
    assert_eq!(too_stale.outcomes(3).len(), 2);
    assert_eq!(
        count(&too_stale, |e| matches!(e, Event::UpdateStale { .. })),
        1
    );
}

#[test]
fn a_quorum_closes_the_round_with_the_first_k() {
    let mut plan = plan(5, 2);
    plan.policy = RoundPolicy::Quorum {
        updates: 3,
        late: Late::Cancel,
    };
    let events = play(plan);
    let outcomes: Vec<_> = events.outcomes(1).into_iter().map(|(_, o)| o).collect();
    assert_eq!(
        outcomes,
        [
            Aggregated,
            Aggregated,
            Aggregated,
            Outcome::Late,
            Outcome::Late
        ]
    );
    assert_near(&events.times(), &[1.2, 2.4]);
}

#[test]
fn over_selection_asks_more_and_takes_the_first_that_it_needs() {
    let mut plan = plan(10, 5);
    plan.sampling = Sampling::number(4);
    plan.policy = RoundPolicy::OverSelect {
        factor: 1.5,
        late: Late::Cancel,
    };
    let events = play(plan);
    for round in 1..=5 {
        let outcomes = events.outcomes(round);
        assert_eq!(outcomes.len(), 6);
        let aggregated: Vec<_> = outcomes.iter().map(|(_, o)| *o == Aggregated).collect();
        // Client order is order of speed here.
        assert_eq!(aggregated, [true, true, true, true, false, false]);
    }
}

#[test]
fn buffered_aggregation_aggregates_every_k_updates_and_starts_clients_anew_meanwhile() {
    let mut plan = plan(4, 6);
    plan.policy = RoundPolicy::Buffered {
        updates: 2,
        staleness: Staleness::default(),
    };
    plan.faults = vec![slow(3, 2.5)];
    let events = play(plan);
    let rounds = events.rounds();
    assert!(rounds.iter().all(|r| r.clients.len() == 2));
    let staleness: Vec<_> = events
        .all()
        .into_iter()
        .scan(0, |current, event| {
            match event {
                Event::RoundStarted { round, .. } => *current = round,
                Event::UpdateReceived { round, .. } => return Some(Some(*current - round)),
                _ => {}
            }
            Some(None)
        })
        .flatten()
        .collect();
    assert_eq!(staleness.len(), 12);
    assert!(
        staleness.contains(&0) && staleness.iter().any(|&s| s >= 2),
        "{staleness:?}"
    );
    assert!(count(&events, |e| matches!(e, Event::ClientsSelected { .. })) == 0);
}

#[test]
fn buffered_aggregation_keeps_as_many_at_work_as_the_sample_says() {
    let mut plan = plan(6, 5);
    plan.sampling = Sampling::number(2);
    plan.policy = RoundPolicy::Buffered {
        updates: 3,
        staleness: Staleness::default(),
    };
    let events = play(plan);
    let mut working = 0i64;
    for event in events.recorded() {
        match event {
            Event::RoundStarted { clients, .. } | Event::ClientsSelected { clients, .. } => {
                working += clients.len() as i64;
                assert_eq!(working, 2);
            }
            Event::UpdateReceived { .. } => working -= 1,
            _ => {}
        }
    }
    assert!(count(&events, |e| matches!(e, Event::ClientsSelected { .. })) > 0);
}

#[test]
fn too_few_updates_skip_the_round_and_leave_the_state() {
    let mut plan = plan(3, 3);
    plan.too_few.minimum = 2;
    plan.faults = vec![lost().on([0, 1]).in_rounds(2, 2)];
    let events = play(plan);
    let rounds = events.rounds();
    assert_eq!(rounds[1].state_digest, rounds[0].state_digest);
    assert_ne!(rounds[2].state_digest, rounds[1].state_digest);
    assert_eq!(events.outcomes(2), [(0, Lost), (1, Lost), (2, Refused)]);
    assert!(rounds[1].refused[0].reason.contains("1 of 2 updates"));
}

#[test]
fn too_few_updates_are_asked_for_again_keeping_those_that_came() {
    let mut plan = plan(3, 1);
    plan.too_few = MinUpdates {
        minimum: 3,
        then: OnTooFew::Retry { attempts: 50 },
    };
    plan.faults = vec![lost().with_probability(0.6)];
    let events = play(plan.clone());
    assert_eq!(
        events.outcomes(1),
        [(0, Aggregated), (1, Aggregated), (2, Aggregated)]
    );
    let retries = count(&events, |e| matches!(e, Event::RoundRetried { .. }));
    assert!(retries >= 1);
    assert_eq!(
        count(&events, |e| matches!(e, Event::UpdateReceived { .. })),
        3
    );
    plan.faults = vec![lost()];
    plan.too_few.then = OnTooFew::Retry { attempts: 2 };
    let (result, events) = run(plan, Toy::default());
    assert_eq!(selected(&events).len(), 3);
    let error = result.unwrap_err();
    assert!(matches!(
        error,
        RunError::TooFewUpdates {
            updates: 0,
            needed: 3,
            ..
        }
    ));
}

#[test]
fn too_few_updates_can_stop_the_run() {
    let mut plan = plan(3, 5);
    plan.too_few = MinUpdates {
        minimum: 3,
        then: OnTooFew::Stop,
    };
    plan.faults = vec![lost().on([1]).in_rounds(3, 3)];
    let (result, events) = run(plan, Toy::default());
    assert_eq!(
        result.unwrap_err().to_string(),
        "only 2 of the 3 updates that round 3 needs came"
    );
    assert_eq!(events.rounds().len(), 2);
}

/// How often each client was selected.
fn shares(plan: FederationPlan) -> BTreeMap<u32, usize> {
    let mut shares = BTreeMap::new();
    for clients in selected(&play(plan)) {
        for client in clients {
            *shares.entry(client).or_default() += 1;
        }
    }
    shares
}

#[test]
fn a_sample_is_a_number_or_a_fraction_of_the_fleet_drawn_alike() {
    for size in [SampleSize::Number(3), SampleSize::Fraction(0.3)] {
        let mut plan = plan(10, 200);
        plan.sampling.size = size;
        let shares = shares(plan);
        assert_eq!(shares.values().sum::<usize>(), 600);
        assert!(shares.values().all(|n| (35..90).contains(n)), "{shares:?}");
    }
}

#[test]
fn a_sample_by_examples_prefers_who_has_more() {
    let mut plan = plan(4, 300);
    plan.clients[3].examples = 40;
    plan.sampling = Sampling {
        size: SampleSize::Number(1),
        by: SampleBy::Examples,
    };
    // 40 of 10 + 11 + 12 + 40.
    let share = shares(plan)[&3] as f64 / 300.0;
    assert!((share - 40.0 / 73.0).abs() < 0.1, "{share}");
}

#[test]
fn a_sample_by_utility_tries_everybody_and_then_prefers_high_losses_and_speed() {
    let utility = Utility {
        preferred_seconds: Some(1.5),
        ..Utility::default()
    };
    let mut plan = plan(5, 200);
    plan.sampling = Sampling {
        size: SampleSize::Number(2),
        by: SampleBy::Utility(utility),
    };
    // The toy's losses are highest for the outer clients; the last one is too slow to be worth it.
    plan.faults = vec![slow(4, 100.0)];
    let shares = shares(plan);
    assert_eq!(shares.len(), 5);
    assert!(shares[&4] < 10, "{shares:?}");
    assert!(shares[&0] > shares[&2], "{shares:?}");
}

fn with_availability(clients: u64, rounds: u32, availability: Availability) -> FederationPlan {
    let mut plan = plan(clients, rounds);
    plan.clients[0].profile.availability = availability;
    plan
}

fn trace(intervals: &[(f64, f64)]) -> Availability {
    let interval = |&(from, to): &(f64, f64)| Interval { from, to };
    Availability::Trace {
        intervals: intervals.iter().map(interval).collect(),
    }
}

#[test]
fn a_client_takes_part_only_while_its_trace_has_it() {
    let plan = with_availability(2, 4, trace(&[(1.0, 3.0), (3.0, 9.0)]));
    let events = play(plan);
    // Rounds begin at 0, 1.1, 2.2 (client 0 goes at 3, before its second is over), 3.3.
    assert_eq!(
        selected(&events),
        [vec![1], vec![0, 1], vec![0, 1], vec![0, 1]]
    );
    assert_eq!(events.outcomes(3), [(0, Dropped), (1, Aggregated)]);
    assert_eq!(events.outcomes(4), [(0, Aggregated), (1, Aggregated)]);
}

#[test]
fn a_round_waits_until_somebody_is_there() {
    let events = play(with_availability(1, 2, trace(&[(50.0, 52.5)])));
    assert_near(&events.times(), &[51.0, 52.0]);
    assert_eq!(selected(&events), [vec![], vec![0], vec![0]]);
}

#[test]
fn when_the_last_client_is_gone_for_good_the_run_ends() {
    let (result, events) = run(
        with_availability(1, 9, trace(&[(0.0, 2.5)])),
        Toy::default(),
    );
    assert!(
        matches!(result, Err(RunError::NobodyLeft { round: 4, .. })),
        "{result:?}"
    );
    assert_eq!(events.rounds().len(), 3);
    assert_eq!(events.outcomes(3), [(0, Dropped)]);
}

#[test]
fn a_daily_pattern_keeps_a_client_away_at_night() {
    let plan = with_availability(
        2,
        40,
        Availability::Daily {
            from: 5.0,
            to: 15.0,
            day: 20.0,
            spread: 0.0,
        },
    );
    let events = play(plan);
    let mut begins = 0.0;
    for record in events.rounds() {
        let awake = (5.0..15.0).contains(&(begins % 20.0));
        let selected = record.clients.iter().any(|c| c.client == ClientId(0));
        assert_eq!(awake, selected, "at {begins}");
        begins = record.virtual_seconds;
    }
}

#[test]
fn an_on_off_process_takes_clients_out_and_brings_them_back() {
    let events = play(with_availability(
        2,
        200,
        Availability::Markov {
            mean_on: 20.0,
            mean_off: 10.0,
        },
    ));
    let there = selected(&events).iter().filter(|c| c.contains(&0)).count();
    assert!((80..180).contains(&there), "{there} of 200");
    assert!(count(&events, |e| matches!(e, Event::ClientDropped { .. })) > 0);
}
