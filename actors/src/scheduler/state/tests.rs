//! What a checkpoint holds loads again, under its old names too.

use serde::de::IgnoredAny;

use super::*;
use crate::clock::VirtualTime;
use crate::ids::{JobId, RunId};
use crate::plan::fault::injection::{Interruption, InterruptionKind};
use crate::plan::fault::{Corruption, FaultName};
use crate::scheduler::fleet::LastParticipation;
use crate::scheduler::in_flight::JobState;

/// The state under the names that its fields once had.
#[derive(Serialize)]
struct OldState {
    round: u32,
    clock: VirtualClock<Due>,
    members: Vec<OldMember>,
    flights: BTreeMap<ClientId, OldFlight>,
    recorded: u64,
    intervened: usize,
    last: Option<RoundRecord>,
    folded: bool,
}

#[derive(Serialize)]
struct OldMember {
    holds: Option<u32>,
    away_until: VirtualTime,
    away_until_round: u32,
    failures: Vec<VirtualTime>,
    retired: bool,
    barred: bool,
    slow: f64,
    asked: (u32, u32),
    tried: Option<LastParticipation>,
}

#[derive(Serialize)]
struct OldFlight {
    stamp: JobId,
    strikes: OldStrikes,
    bytes_down: u64,
    asked: VirtualTime,
    until: VirtualTime,
    machine: JobState,
    sending: bool,
    late: bool,
}

#[derive(Serialize)]
struct OldStrikes {
    slowdown: f64,
    link: f64,
    late: f64,
    lost: bool,
    duplicate: Option<f64>,
    corruption: Option<Corruption>,
    cut: Option<Interruption>,
    names: Vec<FaultName>,
}

const JOB: JobId = JobId {
    run: RunId(7),
    round: 3,
    client: ClientId(0),
    attempt: 1,
};

const INTERRUPTION: Interruption = Interruption {
    at: 0.5,
    kind: InterruptionKind::Crash,
};

fn old_state() -> OldState {
    let mut clock = VirtualClock::default();
    clock.schedule(VirtualTime(90), Due::Left(JOB));
    clock.advance_to(VirtualTime(40));
    let member = OldMember {
        holds: Some(2),
        away_until: VirtualTime(5),
        away_until_round: 1,
        failures: vec![VirtualTime(4)],
        retired: false,
        barred: true,
        slow: 2.0,
        asked: (3, 1),
        tried: Some(LastParticipation {
            round: 2,
            loss: 0.5,
            examples: 10,
            seconds: 3.0,
        }),
    };
    let flight = OldFlight {
        stamp: JOB,
        strikes: OldStrikes {
            slowdown: 3.0,
            link: 1.0,
            late: 0.0,
            lost: false,
            duplicate: None,
            corruption: None,
            cut: Some(INTERRUPTION),
            names: vec![FaultName::Crash],
        },
        bytes_down: 20,
        asked: VirtualTime(30),
        until: VirtualTime(u64::MAX),
        machine: JobState::Busy,
        sending: false,
        late: true,
    };
    OldState {
        round: 3,
        clock,
        members: vec![member],
        flights: [(JOB.client, flight)].into(),
        recorded: 12,
        intervened: 1,
        last: None,
        folded: false,
    }
}

#[test]
fn a_state_under_the_old_names_loads() {
    let bytes = rmp_serde::to_vec_named(&old_state()).unwrap();
    let mut state = State::from_bytes(&bytes, 1).unwrap();
    assert_eq!((state.round, state.recorded, state.intervened), (3, 12, 1));
    assert!(!state.aggregated, "it was said that nothing was");
    let client = state.fleet.client(ClientId(0));
    assert_eq!((client.held_version, client.selected_in), (Some(2), (3, 1)));
    assert!(client.excluded);
    assert_eq!(client.last.map(|last| last.examples), Some(10));
    let job = state.in_flight.job(JOB).unwrap();
    assert_eq!(job.injected.interruption, Some(INTERRUPTION));
    assert_eq!(job.selected_at, VirtualTime(30));
    assert!(job.late && state.in_flight.is_busy(JOB));
    assert_eq!(state.in_flight.now(), VirtualTime(40));
    assert_eq!(state.in_flight.clock.pop(), Some(Due::Left(JOB)));
}

#[test]
fn a_state_is_written_flat_and_read_back_the_same() {
    let bytes = rmp_serde::to_vec_named(&old_state()).unwrap();
    let state = State::from_bytes(&bytes, 1).unwrap();
    let bytes = state.to_bytes().unwrap();
    let fields: BTreeMap<String, IgnoredAny> = rmp_serde::from_slice(&bytes).unwrap();
    let fields: Vec<_> = fields.keys().map(String::as_str).collect();
    let expected = [
        "aggregated",
        "clients",
        "clock",
        "in_flight",
        "intervened",
        "last",
        "last_refusal",
        "recorded",
        "round",
        "rounds_refused",
    ];
    assert_eq!(fields, expected);
    let again = State::from_bytes(&bytes, 1).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes);
}

#[test]
fn a_state_of_another_fleet_is_an_error() {
    let bytes = State::new(2).to_bytes().unwrap();
    let error = State::from_bytes(&bytes, 3).unwrap_err();
    assert!(error.contains("2 clients"), "{error}");
}
