//! The history kept of a run.

use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::control::{ControlCommand, Intervention};

use super::*;
use crate::live::page::changes::Level;
use crate::live::page::feed::Feed;
use crate::live::page::history::{History, PageHeader};

fn history_of(clients: u32, tell: impl FnOnce(&mut Followed)) -> History {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, clients);
    followed.start(10);
    tell(&mut followed);
    feed.history()
}

#[test]
fn losses_scores_traffic_and_bars_are_kept() {
    let history = history_of(2, |followed| {
        (1..=3).for_each(|round| followed.round(round))
    });
    let points = &history.clients[1].points;
    // A point within each round, and one at its end.
    let x: Vec<f32> = points.iter().map(|point| point.0).collect();
    assert_eq!(x, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
    assert_eq!(points[5].1, loss(3) as f32);
    let last = history.rounds.last().unwrap();
    assert_eq!((last.bytes_up, last.bytes_down), (60, 120));
    assert_eq!(last.losses, Some([loss(3) as f32; 5]));
    assert_eq!(history.status.totals.best["loss"].round, 3);
    let span = history.spans.back().unwrap();
    assert_eq!(
        (span.start, span.end, span.kind.name()),
        (20.0, 29.0, "sent")
    );
    assert_eq!(history.clients[0].status.aggregated, 3);
}

#[test]
fn a_long_run_of_many_clients_has_a_history_of_bounded_size() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 20);
    followed.start(4500);
    (1..=2100).for_each(|round| followed.round(round));
    let early = serde_json::to_vec(&feed.history()).unwrap().len();
    (2101..=4500).for_each(|round| followed.round(round));
    let history = feed.history();
    let late = serde_json::to_vec(&history).unwrap().len();
    assert!(late < 2 * early && late < 4_000_000, "{early}, then {late}");
    assert!(history.rounds.len() <= 2001, "{}", history.rounds.len());
    assert!(history.spans.len() <= 20_000 && history.lines.len() <= 400);
    let most = history.most_points;
    assert!(
        history
            .clients
            .iter()
            .all(|client| client.points.len() <= most)
    );
    // It still goes from the beginning to the end.
    let numbers: Vec<u32> = history.rounds.iter().map(|row| row.round).collect();
    assert!(numbers[0] <= 8 && numbers.is_sorted() && numbers.last() == Some(&4500));
    assert!(history.clients[7].points[0].0 < 100.0);
}

#[test]
fn a_round_that_is_scored_after_it_is_finished_is_kept_once() {
    let history = history_of(1, |followed| {
        followed.round(1);
        let scores = Scores::from([("accuracy".into(), 0.75)]);
        followed.tell(Event::Evaluated {
            round: 1,
            scores,
            seconds: 0.0,
        });
    });
    assert_eq!(history.rounds.len(), 1);
    assert_eq!(history.rounds[0].eval.as_ref().unwrap()["accuracy"], 0.75);
}

#[test]
fn losses_and_scores_that_are_no_numbers_are_null_and_those_that_are_not_there_left_out() {
    let nan = f64::NAN;
    let history = history_of(2, |followed| {
        followed.round(1);
        let mut bad = record(2, &[ClientId(0), ClientId(1)]);
        bad.train_loss = Some(nan);
        bad.eval = Some(Scores::from([
            ("pearson".into(), nan),
            ("loss".into(), nan),
        ]));
        followed.tell(Event::UpdateReceived {
            round: 2,
            client: ClientId(0),
            loss: nan,
            examples: 8,
            steps: 2,
            bytes_up: 10,
            digest: Digest("0".into()),
            seconds: 0.1,
            virtual_seconds: 19.0,
        });
        followed.tell(Event::RoundFinished(bad));
        let mut nobody = record(3, &[]);
        nobody.train_loss = None;
        followed.tell(Event::RoundFinished(nobody));
    });
    assert_eq!(history.status.totals.best["loss"].round, 3);
    let json = serde_json::to_value(&history).unwrap();
    assert!(json["rounds"][1]["train_loss"].is_null());
    assert!(json["rounds"][1]["eval"]["pearson"].is_null());
    assert!(json["rounds"][2].get("train_loss").is_none());
    let status = |client: usize| &json["clients"][client]["status"];
    assert_eq!(status(0).get("loss"), Some(&serde_json::Value::Null));
    assert!(status(1)["loss"].is_number());
    let best = json["status"]["totals"]["best"].as_object().unwrap();
    assert!(!best.contains_key("pearson"));
}

#[test]
fn who_was_refused_is_told_with_the_reason_and_a_round_that_refused_all_is_bad() {
    let history = history_of(2, |followed| {
        let mut refused = record(1, &[ClientId(0), ClientId(1)]);
        for part in &mut refused.clients {
            part.outcome = Outcome::Refused;
            refused
                .refused
                .push(regatta_actors::workload::update::Refusal {
                    client: part.client,
                    reason: "its norm is 7".into(),
                });
        }
        followed.tell(Event::RoundFinished(refused));
    });
    let lines: Vec<(Level, Option<u32>, &str)> = history
        .lines
        .iter()
        .skip(1)
        .map(|line| (line.level, line.client, line.text.as_str()))
        .collect();
    assert_eq!(
        lines[0],
        (Level::Bad, Some(0), "client-0 was refused: its norm is 7")
    );
    assert_eq!(lines[1].1, Some(1));
    assert_eq!((lines[2].0, lines[2].1), (Level::Bad, None));
    assert!(
        lines[2].2.ends_with(", every update was refused"),
        "{}",
        lines[2].2
    );
    assert_eq!(history.status.totals.rounds_refused, 1);
}

#[test]
fn dropouts_failures_and_lateness_are_bars_and_lines() {
    let [first, second, third] = [0, 1, 2].map(ClientId);
    let history = history_of(3, |followed| {
        followed.tell(Event::RoundStarted {
            round: 1,
            clients: vec![first, second, third],
            virtual_seconds: 0.0,
        });
        followed.tell(Event::FaultInjected {
            round: 1,
            client: third,
            fault: FaultName::Straggle,
            virtual_seconds: 0.0,
        });
        followed.tell(Event::ClientDropped {
            round: 1,
            client: first,
            steps: 1,
            rejoin: Some(2),
            virtual_seconds: 2.0,
        });
        followed.tell(Event::ClientFailed {
            round: 1,
            client: second,
            reason: "a crash".into(),
            back_at: Some(5.0),
            virtual_seconds: 3.0,
        });
        followed.tell(Event::UpdateLate {
            round: 1,
            client: third,
            virtual_seconds: 4.0,
        });
        followed.tell(Event::RoundStarted {
            round: 2,
            clients: vec![first],
            virtual_seconds: 6.0,
        });
    });
    let bars: Vec<_> = history
        .spans
        .iter()
        .map(|span| {
            (
                span.client,
                span.kind.name(),
                span.start,
                span.end,
                span.slow,
            )
        })
        .collect();
    assert_eq!(
        bars,
        [
            (0, "dropped", 0.0, 2.0, false),
            (1, "failed", 0.0, 3.0, false),
            (1, "restarting", 3.0, 5.0, false),
            (2, "late", 0.0, 4.0, true),
            (0, "away", 2.0, 6.0, false),
        ]
    );
    let said = |text: &str| history.lines.iter().any(|line| line.text.contains(text));
    for text in [
        "client-0 dropped out after 1 step, and is back in round 2",
        "client-1 failed and restarts: a crash",
        "client-2 is affected by a straggle fault",
        "client-2 was late for the round",
    ] {
        assert!(said(text), "{text}");
    }
    // Who is late is still at work.
    assert_eq!(history.clients[2].status.selected_at, Some(4.0));
    assert_eq!(history.clients[1].status.restarts, 1);
}

#[test]
fn a_client_that_was_late_and_slow_is_not_slow_in_its_next_round() {
    let client = ClientId(0);
    let history = history_of(1, |followed| {
        let selected = |round, virtual_seconds| Event::RoundStarted {
            round,
            clients: vec![client],
            virtual_seconds,
        };
        followed.tell(selected(1, 0.0));
        followed.tell(Event::FaultInjected {
            round: 1,
            client,
            fault: FaultName::Straggle,
            virtual_seconds: 0.0,
        });
        followed.tell(Event::UpdateLate {
            round: 1,
            client,
            virtual_seconds: 4.0,
        });
        followed.tell(selected(2, 4.0));
        followed.train(2, client, 6.0);
    });
    let bars = history.spans.iter();
    let bars: Vec<_> = bars.map(|bar| (bar.kind.name(), bar.slow)).collect();
    assert_eq!(bars, [("late", true), ("sent", false)]);
    assert!(!history.clients[0].status.slow);
}

#[test]
fn a_late_update_that_arrives_after_the_server_was_rebuilt_has_a_bar() {
    let client = ClientId(0);
    let history = history_of(1, |followed| {
        followed.tell(Event::RoundStarted {
            round: 1,
            clients: vec![client],
            virtual_seconds: 0.0,
        });
        followed.tell(Event::UpdateLate {
            round: 1,
            client,
            virtual_seconds: 4.0,
        });
        // Clients are idle when the server comes back.
        followed.tell(Event::ClientState {
            round: 1,
            client,
            state: ClientState::Idle,
            lane: None,
        });
        followed.train(1, client, 6.0);
    });
    let bar = history.spans.back().unwrap();
    assert_eq!((bar.start, bar.end, bar.kind.name()), (4.0, 6.0, "sent"));
}

#[test]
fn what_somebody_outside_wanted_is_known() {
    let client = ClientId(0);
    let command = |command| {
        Event::Intervention(Intervention {
            after_round: 1,
            command,
        })
    };
    let history = history_of(1, |followed| {
        followed.round(1);
        followed.tell(command(ControlCommand::DropClient { client }));
        followed.tell(command(ControlCommand::SlowClient {
            client,
            factor: 2.5,
        }));
    });
    let status = &history.clients[0].status;
    assert!(status.excluded && status.slowdown == 2.5);
    assert_eq!(status.away_since, Some(10.0));
}
