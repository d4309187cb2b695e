//! The live page of a run, from outside.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::workplace::{Running, Workplace};

const RUN: &str = "--task rte --model models/tiny --num_clients 2 --local_epochs 1 --batch_size 4 \
                   --metrics off --out run";

/// The address in `watch at http://ADDRESS/`.
fn page(lines: &mut impl Iterator<Item = String>) -> String {
    let said = lines.find(|line| line.starts_with("watch at ")).unwrap();
    let address = said.strip_prefix("watch at http://").unwrap();
    address.trim_end_matches('/').to_owned()
}

fn history(address: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "GET /api/history HTTP/1.1\r\nConnection: close\r\n";
    let request = format!("{head}Host: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// Numbers of the rounds in a history.
fn rounds(history: &Value) -> Vec<u64> {
    let rows = history["rounds"].as_array().unwrap();
    rows.iter()
        .map(|row| row["round"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_page_tells_the_run_and_stays_while_the_process_lingers() {
    let place = Workplace::new();
    place.write("linger.toml", "metrics_linger = \"1 h\"\n");
    let line = format!("run linger.toml {RUN} --rounds 2 --web 127.0.0.1:0");
    let (running, mut lines) = Running::start(&place, &line);
    let address = page(&mut lines);
    lines
        .find(|line| line.starts_with("the page stays"))
        .unwrap();
    let history = history(&address);
    assert_eq!(rounds(&history), [1, 2]);
    assert_eq!(history["status"]["phase"], "over");
    assert_eq!(history["facts"]["steering"], "off");
    let recorded = place.read("run/rounds.jsonl");
    let last: Value = serde_json::from_str(recorded.lines().last().unwrap()).unwrap();
    assert_eq!(history["rounds"][1]["train_loss"], last["train_loss"]);
    running.signal("-INT");
    assert!(running.wait().success());
}

#[test]
fn a_run_that_is_gone_on_with_shows_what_was_before() {
    let place = Workplace::new();
    let line = format!("run {RUN} --rounds 1000000 --web off");
    let (running, mut lines) = Running::start(&place, &line);
    // Two rounds.
    for _ in 0..2 {
        lines.find(|line| line.starts_with("round ")).unwrap();
    }
    running.kill();
    let line = "resume run --web 127.0.0.1:0 --control 127.0.0.1:0";
    let (running, mut lines) = Running::start(&place, line);
    let address = page(&mut lines);
    // The kill may have come before the second round's checkpoint, or the first's, and the page
    // may hear of a round a moment after the terminal: behind the third line it has two for sure.
    for _ in 0..3 {
        lines.find(|line| line.starts_with("round ")).unwrap();
    }
    let history = history(&address);
    assert_eq!(rounds(&history)[..2], [1, 2]);
    assert_eq!(history["facts"]["steering"], "open");
    running.kill();
}

#[test]
fn a_taken_port_is_an_error_only_where_the_user_chose_it() {
    let place = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let errors = place.errors(&format!("run {RUN} --web {address}"));
    assert!(
        errors.len() == 1 && errors[0].contains("--web"),
        "{errors:?}"
    );
    assert!(!place.path().join("run").exists());
    // Runs of other tests may have the usual port for a while, and another program for good.
    let mut usual = TcpListener::bind("127.0.0.1:9466");
    for _ in 0..300 {
        if usual.is_ok() {
            break;
        }
        sleep(Duration::from_millis(100));
        usual = TcpListener::bind("127.0.0.1:9466");
    }
    let said = place.accepts(&format!("run {RUN} --rounds 1"));
    let mut lines = said.lines().map(str::to_owned);
    assert_ne!(page(&mut lines), "127.0.0.1:9466");
}
