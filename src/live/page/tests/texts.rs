//! Texts that the model wrote, as a page gets them.

use super::*;
use crate::live::page::history::PageHeader;
use crate::live::page::server::WebServer;
use crate::live::page::tests::http::{get, status};
use crate::runs::samples::tests::write;

/// An observer of a run that writes texts into a folder, and its feed.
fn observer(folder: &RunFolder) -> (WebObserver, Feed) {
    let feed = Feed::new(PageHeader::default());
    let task = registry::find("e2e").unwrap();
    let observer = WebObserver::new(feed.clone(), folder.clone(), task);
    (observer, feed)
}

fn started() -> Event {
    Event::RunStarted {
        run: "followed".into(),
        rounds: 9,
        lanes: 1,
        clients: infos(1),
    }
}

fn finished(round: u32) -> Event {
    Event::RoundFinished(record(round, &[ClientId(0)]))
}

#[test]
fn rounds_with_texts_are_told_as_they_are_written() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(place.path());
    let (mut observer, feed) = observer(&folder);
    observer.on_event(&started());
    observer.on_event(&finished(1));
    assert!(feed.history().texts.is_empty());
    write(&folder, 0, 2);
    write(&folder, 2, 2);
    observer.on_event(&finished(2));
    // Scored once more, as a run is that was asked to stop.
    observer.on_event(&Event::Evaluated {
        round: 2,
        scores: Scores::new(),
        seconds: 0.0,
    });
    assert_eq!(feed.history().texts, [0, 2]);
}

#[test]
fn a_resumed_run_has_the_texts_of_the_rounds_before_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(place.path());
    (0..=3).for_each(|round| write(&folder, round, 1));
    let (mut observer, feed) = observer(&folder);
    observer.on_event(&Event::RunResumed {
        run: "followed".into(),
        rounds: 9,
        lanes: 1,
        clients: infos(1),
        after_round: 2,
    });
    assert_eq!(feed.history().texts, [0, 1, 2]);
    observer.on_event(&finished(3));
    assert_eq!(feed.history().texts, [0, 1, 2, 3]);
}

#[test]
fn of_many_rounds_the_first_and_the_latest_can_be_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(place.path());
    let (mut observer, feed) = observer(&folder);
    observer.on_event(&started());
    write(&folder, 0, 1);
    for round in 1..=600 {
        write(&folder, round, 1);
        observer.on_event(&finished(round));
    }
    let texts = feed.history().texts;
    assert_eq!((texts.len(), texts[0], texts[1]), (500, 0, 102));
    assert_eq!(texts.last(), Some(&600));
}

#[test]
fn a_round_has_its_first_texts_as_json_and_one_without_is_not_found() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::at(place.path());
    write(&folder, 1, 40);
    let (_observer, feed) = observer(&folder);
    let server = WebServer::start("127.0.0.1:0".parse().unwrap(), feed, None).unwrap();
    let answer = get(&server, "/api/texts/1");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let sample: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(sample["texts"].as_array().unwrap().len(), 12);
    assert_eq!(
        sample["texts"][1]["parts"][1],
        serde_json::json!(["area", "<b>"])
    );
    for path in ["/api/texts/2", "/api/texts/-1", "/api/texts/..%2fscenario"] {
        assert_eq!(status(&get(&server, path)), "404", "{path}");
    }
    let place = folder.path_of(crate::runs::folder::artifact::Artifact::Generated);
    std::fs::write(place.join("round-00002.json"), "[]").unwrap();
    assert_eq!(status(&get(&server, "/api/texts/2")), "500");
}
