//! Properties of random scenarios.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{self, Events, Record, Toy, run};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use regatta_actors::ids::ClientId;
use regatta_actors::journal::ledger;
use regatta_actors::plan::FederationPlan;
use regatta_actors::plan::availability::{Availability, Interval};
use regatta_actors::plan::fault::{Corruption, Fault, FaultKind, Slowdown};
use regatta_actors::plan::policy::{Late, MinUpdates, OnTooFew, RoundPolicy, Staleness};
use regatta_actors::plan::sampling::{SampleBy, SampleSize, Sampling, Utility};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunError;
use regatta_actors::protocol::round_record::Outcome;

fn fault() -> impl Strategy<Value = Fault> {
    let slowdown = prop_oneof![
        (1.0..5.0).prop_map(|factor| Slowdown::Factor { factor }),
        Just(Slowdown::Pareto { shape: 1.5 }),
    ];
    let corruption = select(vec![
        Corruption::Nan,
        Corruption::WrongShape,
        Corruption::Noise { scale: 1.0 },
        Corruption::SignFlip,
    ]);
    let kind = prop_oneof![
        slowdown.prop_map(|slowdown| FaultKind::Straggle { slowdown }),
        (0.0..=1.0, proptest::option::of(1..6u32))
            .prop_map(|(at, rejoin)| FaultKind::Drop { at, rejoin }),
        Just(FaultKind::Drop {
            at: 0.0,
            rejoin: None
        }),
        (0.0..=1.0).prop_map(|at| FaultKind::Crash { at }),
        (0.0..=1.0).prop_map(|at| FaultKind::LaneFailure { at }),
        (1.0..4.0).prop_map(|factor| FaultKind::SlowLink { factor }),
        Just(FaultKind::LostUpdate),
        (0.0..3.0).prop_map(|delay| FaultKind::DuplicateUpdate { delay }),
        (0.0..3.0).prop_map(|seconds| FaultKind::LateUpdate { seconds }),
        corruption.prop_map(|corruption| FaultKind::CorruptUpdate { corruption }),
        (0.0..3.0).prop_map(|downtime| FaultKind::ServerCrash { downtime }),
    ];
    (kind, 0.0..0.7).prop_map(|(kind, p)| Fault::new(kind).with_probability(p))
}

fn late() -> impl Strategy<Value = Late> {
    let max = proptest::option::of(0..3u32);
    prop_oneof![
        Just(Late::Cancel),
        Just(Late::Discard),
        (0.0..2.0, max).prop_map(|(exponent, max)| Late::Carry(Staleness { exponent, max })),
    ]
}

fn policy() -> impl Strategy<Value = RoundPolicy> {
    prop_oneof![
        Just(RoundPolicy::Sync),
        (0.5..3.0, late()).prop_map(|(seconds, late)| RoundPolicy::Deadline { seconds, late }),
        (1..5u32, late()).prop_map(|(updates, late)| RoundPolicy::Quorum { updates, late }),
        (1.0..2.0, late()).prop_map(|(factor, late)| RoundPolicy::OverSelect { factor, late }),
        (1..4u32).prop_map(|updates| RoundPolicy::Buffered {
            updates,
            staleness: Staleness::default()
        }),
    ]
}

fn availability() -> impl Strategy<Value = Availability> {
    let interval = |from| Interval {
        from,
        to: from + 2.5,
    };
    prop_oneof![
        3 => Just(Availability::Always),
        1 => (1.0..9.0, 1.0..9.0)
            .prop_map(|(mean_on, mean_off)| Availability::Markov { mean_on, mean_off }),
        1 => (0.0..5.0).prop_map(|from| Availability::Daily {
            from,
            to: from + 4.0,
            day: 10.0,
            spread: 2.0
        }),
        1 => (0.0..5.0).prop_map(move |from| Availability::Trace {
            intervals: vec![interval(from), interval(from + 7.0)]
        }),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let size = prop_oneof![
        Just(SampleSize::All),
        (0.1..1.0).prop_map(SampleSize::Fraction),
        (1..5u32).prop_map(SampleSize::Number),
    ];
    let by = select(vec![
        SampleBy::Uniform,
        SampleBy::Examples,
        SampleBy::Utility(Utility::default()),
    ]);
    (size, by).prop_map(|(size, by)| Sampling { size, by })
}

fn too_few() -> impl Strategy<Value = MinUpdates> {
    let then = prop_oneof![
        (1..4u32).prop_map(|attempts| OnTooFew::Retry { attempts }),
        Just(OnTooFew::Skip),
        Just(OnTooFew::Stop),
    ];
    (1..4u32, then).prop_map(|(minimum, then)| MinUpdates { minimum, then })
}

fn scenario() -> impl Strategy<Value = FederationPlan> {
    let clients = proptest::collection::vec(availability(), 1..7);
    let faults = proptest::collection::vec(fault(), 0..5);
    let parts = (policy(), sampling(), too_few(), 0..3u32);
    (clients, faults, parts, 1..7u32, any::<u64>()).prop_map(
        |(clients, faults, (policy, sampling, too_few, every), rounds, seed)| {
            let mut plan = common::plan(clients.len() as u64, rounds, 2);
            for (client, availability) in plan.clients.iter_mut().zip(clients) {
                client.profile.speed = 10.0;
                client.profile.availability = availability;
            }
            plan.restart.backoff = 0.1;
            plan.checkpoints.every = every;
            let plan = FederationPlan {
                seed,
                faults,
                policy,
                sampling,
                too_few,
                ..plan
            };
            within_reach(plan)
        },
    )
}

/// The plan, with no more updates wanted than its rounds can get.
fn within_reach(mut plan: FederationPlan) -> FederationPlan {
    let fleet = plan.clients.len() as u32;
    if let SampleSize::Number(number) = &mut plan.sampling.size {
        *number = fleet.min(*number);
    }
    let most = plan.policy.most_updates(&plan.sampling, fleet as usize) as u32;
    if let RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } =
        &mut plan.policy
    {
        *updates = most.min(*updates);
    }
    plan.too_few.minimum = plan.too_few.minimum.min(most);
    plan
}

/// What may end a run of a sensible plan.
fn may_end_a_run(error: &RunError) -> bool {
    matches!(
        error,
        RunError::NobodyLeft { .. }
            | RunError::TooFewUpdates { .. }
            | RunError::NothingAggregated { .. }
    )
}

fn check_events(plan: &FederationPlan, events: &Events) {
    let mut arrived = BTreeSet::new();
    let mut open: BTreeMap<ClientId, u32> = BTreeMap::new();
    let mut last = 0.0;
    for event in events.recorded() {
        let value = serde_json::to_value(&event).unwrap();
        let now = value["virtual_seconds"].as_f64().unwrap_or(last);
        assert!(now >= last, "time goes back from {last}: {event:?}");
        last = now;
        match event {
            Event::RoundStarted { round, clients, .. }
            | Event::ClientsSelected { round, clients, .. } => {
                for client in clients {
                    let before = open.insert(client, round);
                    assert_eq!(before, None, "{client} was selected while at work");
                }
            }
            Event::UpdateReceived { round, client, .. } => {
                assert!(arrived.insert((client, round)), "{client} twice in {round}");
                assert_eq!(open.remove(&client), Some(round));
            }
            Event::ClientDropped { client, .. }
            | Event::ClientFailed { client, .. }
            | Event::UpdateLost { client, .. }
            | Event::UpdateStale { client, .. } => {
                assert!(open.remove(&client).is_some(), "{client} was not at work");
            }
            Event::UpdateLate { client, .. } if goes_on_when_late(plan) => {
                assert!(open.contains_key(&client));
            }
            Event::UpdateLate { client, .. } => {
                assert!(open.remove(&client).is_some());
            }
            _ => {}
        }
    }
}

fn goes_on_when_late(plan: &FederationPlan) -> bool {
    match plan.policy {
        RoundPolicy::Deadline { late, .. }
        | RoundPolicy::Quorum { late, .. }
        | RoundPolicy::OverSelect { late, .. } => late != Late::Cancel,
        _ => false,
    }
}

/// Rounds are aggregated with enough updates, or skipped whole.
fn check_rounds(plan: &FederationPlan, events: &Events) {
    let needed = match plan.policy {
        RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } => {
            updates.max(plan.too_few.minimum)
        }
        _ => plan.too_few.minimum,
    };
    let rounds = events.rounds();
    for (i, record) in rounds.iter().enumerate() {
        assert_eq!(record.round as usize, i + 1);
        let refused = |outcome| matches!(outcome, Outcome::Aggregated | Outcome::Refused);
        let came = record.clients.iter().filter(|c| refused(c.outcome)).count();
        let skipped = record.refused.iter().any(|r| r.reason.contains("skipped"));
        if came < needed as usize {
            assert!(skipped || came == 0, "{record:?}");
            assert!(
                record
                    .clients
                    .iter()
                    .all(|c| c.outcome != Outcome::Aggregated)
            );
        } else {
            assert!(!skipped);
        }
        if skipped && i > 0 {
            assert_eq!(record.state_digest, rounds[i - 1].state_digest);
        }
    }
}

/// Few cases, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if given { default.cases } else { 50 },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_books_are_in_order(plan in scenario()) {
        prop_assert!(plan.check().is_ok());
        let (result, events) = run(plan.clone(), Toy::default());
        match &result {
            Ok(outcome) => assert_eq!(outcome.rounds, plan.rounds),
            Err(error) => assert!(may_end_a_run(error), "{error}"),
        }
        check_events(&plan, &events);
        check_rounds(&plan, &events);
    }

    #[test]
    fn lanes_delays_kills_and_replays_give_the_same_ledger(
        plan in scenario(),
        lanes in select(vec![1, 2, 4]),
        at in 0.0..1.0,
    ) {
        let reference = Record::new();
        let result = reference.record(plan.clone(), Toy::default());
        let expected = reference.ledger();
        let entries = expected.lines().count();

        let again = Record::new();
        let toy = Toy { jitter: 100, ..Toy::default() };
        let other = again.record(FederationPlan { lanes, ..plan.clone() }, toy);
        assert_eq!(without_wall_time(other), without_wall_time(result.clone()));
        assert!(again.ledger() == expected, "with {lanes} lanes");

        let killed = common::kill(&plan, (at * entries as f64) as usize);
        assert_eq!(without_wall_time(killed.resume(plan.clone())), without_wall_time(result));
        assert!(killed.ledger() == expected, "killed at {at}");

        assert_eq!(killed.replay(plan), Ok(entries as u64));
        let path = killed.path().join("events.jsonl");
        assert_eq!(ledger::read(&path).unwrap().filter(|e| e.is_err()).count(), 0);
    }
}

fn without_wall_time(
    result: Result<regatta_actors::protocol::outcome::RunOutcome, RunError>,
) -> Result<regatta_actors::protocol::outcome::RunOutcome, RunError> {
    result.map(|mut outcome| {
        if let Some(last) = &mut outcome.last {
            last.forget_wall_time();
        }
        outcome
    })
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..50 {
        let plan = scenario().new_tree(&mut runner).unwrap().current();
        let bytes = rmp_serde::to_vec_named(&plan).unwrap();
        assert_eq!(
            rmp_serde::from_slice::<FederationPlan>(&bytes).unwrap(),
            plan
        );
    }
}
