use regatta_actors::ids::{ClientId, Digest};
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds, RoundRecord};

use crate::runs::history::clients::RunStats;
use crate::runs::history::collected::Participations;
use crate::runs::history::participation::{
    InProgress, Participation, ParticipationEnd, ParticipationEvent,
};

const CLIENT: ClientId = ClientId(0);

fn clients() -> Vec<ClientInfo> {
    let info = ClientInfo {
        client: CLIENT,
        name: "c0".into(),
        examples: 8,
    };
    vec![info]
}

fn selected(round: u32, virtual_seconds: f64) -> Event {
    Event::RoundStarted {
        round,
        clients: vec![CLIENT],
        virtual_seconds,
    }
}

fn received(round: u32, virtual_seconds: f64) -> Event {
    Event::UpdateReceived {
        round,
        client: CLIENT,
        loss: 0.5,
        examples: 8,
        steps: 2,
        bytes_up: 10,
        digest: Digest(String::new()),
        seconds: 0.25,
        virtual_seconds,
    }
}

fn late(round: u32, virtual_seconds: f64) -> Event {
    Event::UpdateLate {
        round,
        client: CLIENT,
        virtual_seconds,
    }
}

fn failed(round: u32, virtual_seconds: f64, back_at: Option<f64>) -> Event {
    Event::ClientFailed {
        round,
        client: CLIENT,
        reason: "a crash".into(),
        back_at,
        virtual_seconds,
    }
}

fn finished(round: u32, outcome: Outcome, virtual_seconds: f64) -> Event {
    let client = ClientRecord {
        client: CLIENT,
        name: "c0".into(),
        outcome,
        loss: None,
        examples: 8,
        steps: 2,
        bytes_up: 10,
        bytes_down: 20,
        seconds: 0.0,
    };
    Event::RoundFinished(RoundRecord {
        round,
        train_loss: None,
        eval: None,
        exactness_error: None,
        measures: [].into(),
        virtual_seconds,
        seconds: PhaseSeconds::default(),
        state_digest: Digest(String::new()),
        refused: Vec::new(),
        clients: vec![client],
    })
}

/// The participations that these events end.
fn ended(projection: &mut InProgress, events: &[Event]) -> Vec<Participation> {
    let happened = events.iter().flat_map(|event| projection.take(event));
    let ended = |event| match event {
        ParticipationEvent::Ended(participation) => Some(participation),
        _ => None,
    };
    happened.filter_map(ended).collect()
}

#[test]
fn a_participation_that_has_ended_is_not_kept() {
    let mut projection = InProgress::default();
    for round in 1..=3 {
        let at = f64::from(round);
        projection.take(&selected(round, at));
        assert!(projection.is_on_time(CLIENT));
        let ended = ended(&mut projection, &[received(round, at + 0.5)]);
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].round, ended[0].seconds()), (round, 0.5));
        assert_eq!(ended[0].end, ParticipationEnd::Arrived);
        assert_eq!(ended[0].job.map(|job| job.steps), Some(2));
        assert_eq!(projection, InProgress::default());
    }
}

#[test]
fn a_late_one_continues_until_its_update_comes_or_its_client_is_selected_again() {
    let mut projection = InProgress::default();
    projection.take(&selected(1, 0.0));
    projection.take(&late(1, 2.0));
    assert!(!projection.any_on_time());
    let carried = ended(&mut projection, &[received(1, 3.0)]);
    assert_eq!(carried[0].end, ParticipationEnd::Arrived);
    assert_eq!((carried[0].late_at, carried[0].ended), (Some(2.0), 3.0));

    let events = [selected(2, 4.0), late(2, 5.0), selected(3, 6.0)];
    let cancelled = ended(&mut projection, &events);
    assert_eq!(cancelled[0].end, ParticipationEnd::Late);
    assert_eq!((cancelled[0].round, cancelled[0].ended), (2, 5.0));
    assert!(projection.is_on_time(CLIENT));
}

#[test]
fn the_attempt_and_the_faults_are_those_of_the_selection() {
    let mut projection = InProgress::default();
    let again = Event::ClientsSelected {
        round: 1,
        attempt: 1,
        clients: vec![CLIENT],
        virtual_seconds: 2.0,
    };
    let fault = Event::FaultInjected {
        round: 1,
        client: CLIENT,
        fault: FaultName::Straggle,
        virtual_seconds: 0.0,
    };
    let events = [
        selected(1, 0.0),
        fault,
        failed(1, 1.0, Some(1.5)),
        again,
        received(1, 3.0),
    ];
    let ended = ended(&mut projection, &events);
    let seen: Vec<_> = ended.iter().map(|p| (p.attempt, p.faults.len())).collect();
    assert_eq!(seen, [(0, 1), (1, 0)]);
    assert_eq!(ended[0].restart_seconds(), 0.5);
}

#[test]
fn one_that_began_before_the_run_was_resumed_ends_without_a_beginning() {
    let mut stats = RunStats::default();
    stats.take(&selected(1, 4.0));
    stats.take(&Event::RunResumed {
        run: "run".into(),
        rounds: 3,
        lanes: 1,
        clients: clients(),
        after_round: 1,
    });
    assert!(!stats.in_progress.any_on_time());
    let happened = stats.take(&failed(1, 9.0, Some(10.0)));
    let [ParticipationEvent::Ended(participation)] = happened.as_slice() else {
        panic!("{happened:?}");
    };
    assert_eq!(participation.selected, None);
    // How long it worked is not known; how long it is away is.
    assert_eq!(stats.clients[&CLIENT].lost_seconds, 1.0);
}

#[test]
fn what_became_of_an_update_and_what_it_weighed_is_known_when_its_round_is_over() {
    let mut participations = Participations::default();
    let mut stats = RunStats::default();
    for event in [
        selected(1, 0.0),
        received(1, 1.0),
        finished(1, Outcome::Aggregated, 2.0),
        selected(2, 2.0),
        received(2, 3.0),
        finished(2, Outcome::Refused, 4.0),
        selected(3, 4.0),
        late(3, 5.0),
        finished(3, Outcome::Late, 5.0),
    ] {
        participations.take(&event);
        stats.take(&event);
    }
    participations.finish();
    let all = participations.all.iter();
    let all: Vec<_> = all.map(|p| (p.end, p.bytes_up, p.bytes_down)).collect();
    let expected = [
        (ParticipationEnd::Arrived, 10, 20),
        (ParticipationEnd::Refused, 10, 20),
        (ParticipationEnd::Late, 0, 0),
    ];
    assert_eq!(all, expected);
    let client = &stats.clients[&CLIENT];
    assert_eq!((client.selected, client.missed()), (3, 2));
    assert_eq!((client.bytes_up, client.lost_seconds), (30, 0.0));
}
