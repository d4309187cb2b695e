//! A run that is steered while it goes on.

use std::fs;

use crate::workplace::{Running, Workplace};

const RUN: &str = "run --task rte --model models/tiny --num_clients 3 --local_epochs 1 \
                   --batch_size 4 --metrics off --control 127.0.0.1:0 --rounds 1000000 --out run";

#[test]
fn commands_steer_a_run_and_stand_in_its_ledger_and_it_replays_with_them() {
    let place = Workplace::new();
    let (running, mut lines) = Running::start(&place, RUN);
    let said = lines.find(|line| line.starts_with("control at ")).unwrap();
    let address = said.split([' ', ':']).nth(2).unwrap().to_owned();
    let port = said.split(':').nth(1).unwrap().to_owned();
    let ctl = |what: &str| format!("ctl --control {address}:{port} {what}");
    lines.find(|line| line.starts_with("round ")).unwrap();
    place.accepts(&ctl("pause"));
    lines.find(|line| line.starts_with("paused after")).unwrap();
    let status = place.accepts(&ctl("status"));
    assert!(
        status.contains("paused") && status.contains("/1000000"),
        "{status}"
    );
    place.accepts(&ctl("drop 0"));
    place.accepts(&ctl("slow 1 2.5"));
    let output = place.regatta(&ctl("drop 9"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("no client 9"),
        "{text}"
    );
    place.accepts(&ctl("resume"));
    lines.find(|line| line.contains("2/2 clients")).unwrap();
    place.accepts(&ctl("stop"));
    lines.for_each(drop);
    assert!(running.wait().success());

    let ledger = place.read("run/events.jsonl");
    for command in ["drop_client", "slow_client", "finish_round"] {
        assert!(
            ledger.contains(&format!("\"command\":\"{command}\"")),
            "{command}"
        );
    }
    let said = place.accepts("replay run --check");
    assert!(said.contains("events are the same"), "{said}");
    let said = place.accepts("report run");
    assert!(said.contains("SlowClient"), "{said}");
}

#[test]
fn nobody_answering_is_an_error_that_says_how_to_start_a_run() {
    let output = Workplace::new().regatta("ctl --control 127.0.0.1:1 status");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("--control 127.0.0.1:1"),
        "{text}"
    );
}

#[test]
fn an_address_that_others_reach_wants_a_token() {
    let place = Workplace::new();
    let errors = place
        .errors("run --task rte --model models/tiny --metrics off --control 0.0.0.0:0 --out run");
    assert!(
        errors.len() == 1 && errors[0].contains("REGATTA_CONTROL_TOKEN"),
        "{errors:?}"
    );
    assert!(!place.path().join("run").exists());
}

#[test]
fn the_log_goes_to_a_file_as_well() {
    let place = Workplace::new();
    place.accepts(
        "run --task rte --model models/tiny --metrics off --rounds 1 --out run -v --log_file log",
    );
    assert!(fs::metadata(place.path().join("log")).is_ok());
    let errors = place.errors("check --task rte --model models/tiny --log_file none/log");
    assert!(
        errors.len() == 1 && errors[0].contains("--log_file"),
        "{errors:?}"
    );
}
