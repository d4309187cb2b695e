//! The messages to followers.

use std::task::{Context, Poll, Waker};

use actix_web::body::MessageBody;
use serde_json::Value;

use super::*;
use crate::live::page::changes::Phase;
use crate::live::page::feed::{Feed, Follower};
use crate::live::page::history::{History, PageHeader};
use crate::live::page::observer::WebObserver;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;

/// The messages that wait for a follower: names and contents. Whether the stream has ended.
fn messages(follower: &mut Follower) -> (Vec<(String, Value)>, bool) {
    let mut messages = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match std::pin::Pin::new(&mut *follower).poll_next(&mut context) {
            Poll::Ready(Some(Ok(bytes))) => messages.push(parse(&bytes)),
            Poll::Ready(None) => return (messages, true),
            Poll::Pending => return (messages, false),
        }
    }
}

fn parse(message: &[u8]) -> (String, Value) {
    let text = std::str::from_utf8(message).unwrap();
    let (name, data) = text
        .strip_prefix("event: ")
        .unwrap()
        .split_once('\n')
        .unwrap();
    let data = data.strip_prefix("data: ").unwrap();
    assert!(data.ends_with("\n\n") && !data.trim_end().contains('\n'));
    (name.to_owned(), serde_json::from_str(data).unwrap())
}

#[test]
fn a_follower_gets_the_history_and_then_what_changes() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 2);
    followed.start(3);
    followed.round(1);
    feed.flush();
    let mut follower = feed.follow();
    followed.round(2);
    feed.flush();
    feed.flush();
    let (messages, ended) = messages(&mut follower);
    let names: Vec<&str> = messages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, ended), (vec!["history", "changes"], false));
    let rounds = |i: usize| messages[i].1["rounds"].as_array().unwrap().len();
    assert_eq!((rounds(0), rounds(1)), (1, 1));
    assert_eq!(messages[1].1["rounds"][0]["round"], 2);
    assert_eq!(messages[1].1["points"][0][0], 0);
}

#[test]
fn a_history_that_was_asked_for_sets_no_clock_of_an_earlier_message() {
    let feed = Feed::new(PageHeader::default());
    Followed::new(&feed, 1).start(3);
    let clock = |mut follower: Follower| messages(&mut follower).0[0].1["now"].as_f64().unwrap();
    let first = clock(feed.follow());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(feed.history().now > first + 1.0);
    assert!(clock(feed.follow()) > first + 1.0);
}

#[test]
fn whoever_comes_later_has_the_same_in_the_end() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 2);
    followed.start(3);
    followed.round(1);
    // What has gathered goes to the earlier one, and into the history of the later one, once.
    let mut early = feed.follow();
    followed.round(2);
    feed.flush();
    let mut late = feed.follow();
    let rounds = |messages: &[(String, Value)]| {
        let rows = messages
            .iter()
            .map(|(_, content)| content["rounds"].as_array());
        let rows = rows.flatten().flatten().map(|row| row["round"].as_u64());
        rows.collect::<Vec<_>>()
    };
    let seen = [&mut early, &mut late].map(|follower| rounds(&messages(follower).0));
    assert_eq!(seen, [vec![Some(1), Some(2)], vec![Some(1), Some(2)]]);
}

#[test]
fn a_page_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 1);
    followed.start(1000);
    let mut slow = feed.follow();
    for round in 1..=200 {
        followed.round(round);
        feed.flush();
    }
    let (messages, ended) = messages(&mut slow);
    assert!(ended && messages.len() < 100, "{}", messages.len());
    assert_eq!(feed.history().rounds.len(), 200);
}

#[test]
fn the_last_message_before_the_end_says_how_the_run_ended() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 1);
    followed.start(1);
    let mut follower = feed.follow();
    followed.round(1);
    followed.finish(1);
    feed.end();
    let (messages, ended) = messages(&mut follower);
    let status = &messages.last().unwrap().1["status"];
    assert_eq!(
        (&status["phase"], &status["ending"]),
        (&"over".into(), &"complete".into())
    );
    assert!(ended);
}

#[test]
fn the_page_is_told_how_many_test_examples_are_predicted_whatever_order_batches_end_in() {
    let feed = Feed::new(PageHeader::default());
    let mut followed = Followed::new(&feed, 1);
    followed.start(1);
    followed.round(1);
    for done in [0, 16, 8] {
        followed.tell(Event::Predicting { done, total: 24 });
    }
    let status = feed.history().status;
    assert_eq!(
        (status.phase, status.predicted),
        (Phase::Predicting, Some((16, 24)))
    );
    followed.finish(1);
    assert_eq!(feed.history().status.predicted, None);
}

#[test]
fn a_run_that_is_gone_on_with_tells_what_was_before() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(temporary.path());
    let clients = [ClientId(0)];
    let before = [
        Event::RoundStarted {
            round: 1,
            clients: clients.to_vec(),
            virtual_seconds: 0.0,
        },
        Event::RoundFinished(record(1, &clients)),
        Event::RoundStarted {
            round: 2,
            clients: clients.to_vec(),
            virtual_seconds: 10.0,
        },
        Event::RoundFinished(record(2, &clients)),
    ];
    let lines = before.into_iter().enumerate().map(|(i, event)| {
        let mut line = serde_json::to_value(event).unwrap();
        line["sequence"] = (i + 1).into();
        line["time"] = 0.into();
        format!("{line}\n")
    });
    std::fs::write(folder.path_of(Artifact::Ledger), lines.collect::<String>()).unwrap();

    let mut timed = record(1, &clients);
    timed.seconds.train = 2.5;
    let line = serde_json::to_string(&timed).unwrap() + "\n";
    std::fs::write(folder.path_of(Artifact::Rounds), line).unwrap();

    let history = resumed(folder.clone());
    let rounds: Vec<u32> = history.rounds.iter().map(|row| row.round).collect();
    assert_eq!(rounds, [1]);
    assert_eq!(history.rounds[0].seconds.train, 2.5);
    assert_eq!(history.clients[0].status.aggregated, 1);
    let last = history.lines.back().unwrap();
    assert!(last.text.contains("resumes after round 1") && last.at.is_some());
    assert!(history.lines.front().unwrap().at.is_none());

    // Where no ledger is kept, the round's record must do.
    std::fs::remove_file(folder.path_of(Artifact::Ledger)).unwrap();
    let history = resumed(folder);
    assert_eq!(history.rounds.len(), 1);
    assert_eq!(history.clients[0].points, [(1.0, loss(1) as f32)]);
}

/// The history of a run that is resumed after its first round.
fn resumed(folder: RunFolder) -> History {
    let feed = Feed::new(PageHeader::default());
    let mut observer = WebObserver::new(feed.clone(), folder, registry::default());
    observer.on_event(&Event::RunResumed {
        run: "followed".into(),
        rounds: 3,
        lanes: 1,
        clients: infos(1),
        after_round: 1,
    });
    feed.history()
}
