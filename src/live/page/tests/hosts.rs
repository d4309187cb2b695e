//! The hosts that a page shows.

use std::sync::Arc;
use std::time::Instant;

use regatta_actors::ids::{JobId, RunId};
use regatta_actors::observe::hosts::{HostBoard, HostStatus, LaneStatus, OWN_PROCESS};
use regatta_actors::protocol::job::JobPhase;
use serde_json::{Value, json};

use super::*;
use crate::live::page::history::PageHeader;

/// A feed of a run of one client, and the board that it looks at.
fn watched() -> (Feed, Followed, Arc<HostBoard>) {
    let feed = Feed::new(PageHeader::default());
    let board = Arc::new(HostBoard::default());
    feed.watch(board.clone());
    let followed = Followed::new(&feed, 1);
    (feed, followed, board)
}

fn join(followed: &mut Followed, board: &HostBoard, host: &str) {
    let lane = LaneStatus {
        lane: LaneId(0),
        device: "cpu".into(),
        work: None,
    };
    let status = HostStatus {
        lanes: vec![lane],
        heard: Some(Instant::now()),
        ..HostStatus::new(host, "a CPU")
    };
    board.add(host, status);
    followed.tell(Event::HostJoined {
        host: host.into(),
        lanes: vec![LaneId(0)],
        description: "a CPU".into(),
    });
}

fn hosts(feed: &Feed) -> Value {
    serde_json::to_value(feed.history().hosts).unwrap()
}

#[test]
fn hosts_that_joined_before_the_run_began_are_known_with_what_they_do() {
    let (feed, mut followed, board) = watched();
    board.add(OWN_PROCESS, HostStatus::new("here", ""));
    join(&mut followed, &board, "a.1");
    followed.start(3);
    let told = hosts(&feed);
    assert_eq!(told.as_object().map(|hosts| hosts.len()), Some(1));
    assert_eq!(
        (&told["1"]["host"], &told["1"]["left"]),
        (&json!("a.1"), &Value::Null)
    );
    assert_eq!(told["1"]["work"], json!([[0, "cpu"]]));
    let job = JobId {
        run: RunId(0),
        round: 2,
        client: ClientId(0),
        attempt: 0,
    };
    board.update("a.1", |status| {
        status.show(LaneId(0), Some((job, JobPhase::Training)));
        status.bytes_sent = 7;
    });
    followed.tell(Event::JobDone {
        round: 1,
        client: ClientId(0),
        host: "a.1".into(),
    });
    let told = hosts(&feed);
    assert_eq!(told["1"]["work"], json!([[0, "cpu", 0, 2, "training"]]));
    assert_eq!(
        (&told["1"]["sent"], &told["1"]["done"]),
        (&json!(7), &json!(1))
    );
}

#[test]
fn a_lost_host_stays_with_what_it_did_and_its_lanes_do_nothing() {
    let (feed, mut followed, board) = watched();
    followed.start(3);
    join(&mut followed, &board, "a.1");
    board.update("a.1", |status| status.bytes_received = 9);
    feed.flush();
    board.remove("a.1");
    followed.tell(Event::HostLeft {
        host: "a.1".into(),
        lost: true,
        reason: "silent for 10 s".into(),
    });
    let told = hosts(&feed);
    assert_eq!(told["1"]["left"]["lost"], true);
    assert_eq!(
        (&told["1"]["received"], &told["1"]["work"]),
        (&json!(9), &json!([]))
    );
}

#[test]
fn nothing_is_told_of_hosts_that_stay_as_they_are() {
    let (feed, mut followed, board) = watched();
    followed.start(3);
    join(&mut followed, &board, "a.1");
    feed.flush();
    feed.lock().tracker.look_at_hosts(&board);
    assert!(feed.lock().tracker.changes.hosts.is_empty());
}

#[test]
fn hosts_that_come_and_go_without_end_are_forgotten() {
    let (feed, mut followed, board) = watched();
    followed.start(3);
    for number in 0..1000 {
        let name = format!("a.{number}");
        join(&mut followed, &board, &name);
        board.remove(&name);
        followed.tell(Event::HostLeft {
            host: name,
            lost: false,
            reason: "drained".into(),
        });
        feed.flush();
    }
    let history = feed.history();
    assert!(history.hosts.len() <= 201, "{}", history.hosts.len());
    assert!(history.hosts.contains_key(&1000));
}

#[test]
fn a_broker_that_is_away_is_known_until_it_answers() {
    let (feed, mut followed, _) = watched();
    followed.start(3);
    followed.tell(Event::BrokerAway {
        reason: "no answer".into(),
    });
    let history = feed.history();
    assert!(history.status.broker_away.is_some());
    let last = history.lines.back().map(|line| line.text.clone());
    assert_eq!(last.as_deref(), Some("the broker is away: no answer"));
    followed.tell(Event::BrokerReached);
    assert_eq!(feed.history().status.broker_away, None);
}
