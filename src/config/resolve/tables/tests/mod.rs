mod errors;

use regatta_actors::plan::availability::Availability;
use regatta_actors::plan::fault::{Corruption, FaultKind, RoundRange, Slowdown};
use regatta_actors::plan::policy::{Late, OnTooFew, RoundPolicy, Staleness};
use regatta_actors::plan::sampling::{SampleBy, SampleSize};

use super::*;
use crate::config::tests::{plan, problems};

/// A scenario with every table and every kind in it.
const EVERYTHING: &str = r#"
num_clients = 10
rounds = 20
clock = "wall"
clock_scale = 60.0
checkpoint_every = 2
keep_checkpoints = 5
watchdog = "90 s"

[clients.desktops]
speed = 200

[clients.phones]
share = 0.3
speed = 12.5
bandwidth_up = "5 Mbit/s"
bandwidth_down = "20 Mbit/s"
latency = "50 ms"
memory = "4 GiB"
availability = { kind = "markov", on = "1 h", off = "5 min" }

[clients.night]
clients = ["0..1", 9]
availability = { kind = "daily", from = "22 h", to = "6 h", spread = "30 min" }

[policy]
kind = "deadline"
after = "30 s"
late = "carry"
staleness_exponent = 1
max_staleness = 3

[sampling]
fraction = 0.5
by = "utility"
preferred = "10 s"

[too_few]
minimum = 2
then = "retry(3)"

[restart]
budget = 1
window = "10 min"

[[faults]]
kind = "straggle"
slowdown = "uniform(2, 8)"
clients = [1, 4]
rounds = "5..9"
probability = 0.5

[[faults]]
kind = "drop"
at = 0.25
rejoin = 7

[[faults]]
kind = "corrupt_update"
corruption = "noise(0.5)"
clients = 3
rounds = [1, "4..6"]

[[faults]]
kind = "server_crash"
rounds = 3
delay = "1 min"
"#;

#[test]
fn every_table_becomes_what_the_actors_take() {
    let simulation = plan(EVERYTHING).simulation;
    assert_eq!(simulation.clock, ClockMode::Wall { scale: 60.0 });
    assert_eq!(
        (simulation.checkpoints.every, simulation.checkpoints.keep),
        (2, 5)
    );
    assert_eq!(simulation.watchdog, Some(Duration::from_secs(90)));
    let late = Late::Carry(Staleness {
        exponent: 1.0,
        max: Some(3),
    });
    assert_eq!(
        simulation.policy,
        RoundPolicy::Deadline {
            seconds: 30.0,
            late
        }
    );
    assert_eq!(simulation.sampling.size, SampleSize::Fraction(0.5));
    let SampleBy::Utility(utility) = simulation.sampling.by else {
        panic!("{:?}", simulation.sampling.by);
    };
    assert_eq!(
        (utility.preferred_seconds, utility.penalty),
        (Some(10.0), 2.0)
    );
    assert_eq!(simulation.too_few.then, OnTooFew::Retry { attempts: 3 });
    assert_eq!(
        (simulation.restart.budget, simulation.restart.window),
        (1, 600.0)
    );
    let kinds: Vec<_> = simulation.faults.iter().map(|fault| fault.kind).collect();
    let slowdown = Slowdown::Uniform {
        low: 2.0,
        high: 8.0,
    };
    let corruption = Corruption::Noise { scale: 0.5 };
    assert_eq!(
        kinds,
        [
            FaultKind::Straggle { slowdown },
            FaultKind::Drop {
                at: 0.25,
                rejoin: Some(7)
            },
            FaultKind::CorruptUpdate { corruption },
            FaultKind::ServerCrash { downtime: 60.0 },
        ]
    );
    let ranges = [RoundRange { from: 1, to: 1 }, RoundRange { from: 4, to: 6 }];
    assert_eq!(
        simulation.faults[2].rounds.as_deref(),
        Some(ranges.as_slice())
    );
}

#[test]
fn groups_take_those_they_name_then_shares_then_the_rest() {
    let profiles = plan(EVERYTHING).simulation.profiles;
    for client in [0, 1, 9] {
        assert!(matches!(
            profiles[client].availability,
            Availability::Daily { .. }
        ));
    }
    let phones: Vec<_> = profiles.iter().filter(|p| p.speed == 12.5).collect();
    assert_eq!(phones.len(), 3);
    assert_eq!(phones[0].bandwidth_down, Some(2.5e6));
    assert_eq!((phones[0].latency, phones[0].memory), (0.05, Some(1 << 32)));
    assert_eq!(profiles.iter().filter(|p| p.speed == 200.0).count(), 4);
    let other = plan(&EVERYTHING.replacen('\n', "\nseed = 1\n", 1))
        .simulation
        .profiles;
    assert_ne!(other, profiles);
}

#[test]
fn the_resolved_scenario_gives_the_same_plan_again() {
    let first = plan(EVERYTHING);
    let mut again = plan(&first.to_toml());
    again.origins = first.origins.clone();
    assert_eq!(again, first);
}

#[test]
fn a_trace_gives_each_client_its_intervals_and_its_errors_have_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.csv");
    let scenario = format!(
        "num_clients = 3\n[clients.all]\n\
         availability = {{ kind = \"trace\", file = \"{}\" }}\n",
        file.display()
    );
    std::fs::write(&file, "client,from,to\n0,0,10\n1,5.5,6\n0,20,30\n").unwrap();
    let profiles = plan(&scenario).simulation.profiles;
    let intervals = |client: usize| match &profiles[client].availability {
        Availability::Trace { intervals } => intervals.iter().map(|i| (i.from, i.to)).collect(),
        other => panic!("{other:?}"),
    };
    let none: Vec<(f64, f64)> = Vec::new();
    assert_eq!(intervals(0), [(0.0, 10.0), (20.0, 30.0)]);
    assert_eq!((intervals(1), intervals(2)), (vec![(5.5, 6.0)], none));
    std::fs::write(&file, "client,from,to\n0,5,10\n0,7,30\n").unwrap();
    let found = problems(&scenario);
    assert!(
        found.len() == 1
            && found[0].contains("trace.csv:3: client 0, from 7 to 30: must not begin before 10"),
        "{found:?}"
    );
}

#[test]
fn a_method_that_cannot_take_stale_updates_is_refused_with_them() {
    let found = problems("agg_type = \"sorf_vera\"\n[policy]\nkind = \"buffered\"\nupdates = 2\n");
    assert!(
        found.len() == 1 && found[0].contains("policy.kind = \"buffered\": sorf_vera resets b"),
        "{found:?}"
    );
}

#[test]
fn every_kind_of_policy_is_understood() {
    let policy = |table: &str| plan(&format!("[policy]\n{table}")).simulation.policy;
    let late = Late::Discard;
    assert_eq!(
        policy("kind = \"quorum\"\nupdates = 2\nlate = \"stale\""),
        RoundPolicy::Quorum { updates: 2, late }
    );
    let late = Late::Cancel;
    assert_eq!(
        policy("kind = \"over_select\"\nfactor = 1.5"),
        RoundPolicy::OverSelect { factor: 1.5, late }
    );
    let staleness = Staleness::default();
    assert_eq!(
        policy("kind = \"buffered\"\nupdates = 2"),
        RoundPolicy::Buffered {
            updates: 2,
            staleness
        }
    );
}
