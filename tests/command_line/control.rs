//! A run that is steered while it is running.

use std::fs;

use crate::workplace::{Running, Steered, Workplace};

const RUN: &str = "run --task rte --model models/tiny --num_clients 3 --local_epochs 1 \
                   --batch_size 4 --metrics off --rounds 1000000 --out run";

#[test]
fn commands_steer_a_run_and_stand_in_its_ledger_and_it_replays_with_them() {
    let place = Workplace::new();
    let mut steered = Steered::start(&place, RUN);
    steered.pause(&place);
    let ctl = |what: &str| format!("ctl --control {} {what}", steered.address);
    let status = place.accepts(&ctl("status"));
    assert!(
        status.contains("paused") && status.contains("/1000000"),
        "{status}"
    );
    place.accepts(&ctl("drop 0"));
    place.accepts(&ctl("slow 1 2.5"));
    place.accepts(&ctl("checkpoint"));
    let output = place.regatta(&ctl("drop 9"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("no client 9"),
        "{text}"
    );
    let output = place.regatta(&ctl("slow 1 -2"));
    assert!(!output.status.success());
    place.accepts(&ctl("resume"));
    let lines = &mut steered.lines;
    lines.find(|line| line.contains("2/2 clients")).unwrap();
    place.accepts(&ctl("restore 0"));
    lines.find(|line| line.contains("3/3 clients")).unwrap();
    place.accepts(&ctl("stop"));
    lines.for_each(drop);
    assert!(steered.running.wait().success());

    let ledger = place.read("run/events.jsonl");
    for command in [
        "drop_client",
        "slow_client",
        "restore_client",
        "finish_round",
    ] {
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
fn a_run_on_lanes_of_its_own_says_so_and_has_no_worker_to_drain() {
    let place = Workplace::new();
    let mut steered = Steered::start(&place, &format!("{RUN} --lanes 2"));
    steered.pause(&place);
    let said = place.accepts(&steered.line("workers"));
    let own = "the run trains on 2 lanes of its own process, and has no workers";
    assert!(said.starts_with(own) && said.contains("cpu"), "{said}");
    let json = place.accepts(&steered.line("--format json workers"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["workers"], serde_json::json!([]));
    assert_eq!(json["lanes"][1]["lane"], 1);
    let output = place.regatta(&steered.line("drain local"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("has no workers"), "{text}");
    steered.running.kill();
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
fn who_has_another_token_or_none_steers_nothing() {
    let place = Workplace::new();
    let mut command = place.command(RUN);
    command.env("REGATTA_CONTROL_TOKEN", "open sesame");
    let steered = Steered::of(command);
    for token in [None, Some("open says me")] {
        let mut command = place.command(&steered.line("stop"));
        token.map(|token| command.env("REGATTA_CONTROL_TOKEN", token));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("the token is not the one"), "{text}");
    }
    let mut command = place.command(&steered.line("stop"));
    command.env("REGATTA_CONTROL_TOKEN", "open sesame");
    assert!(command.status().unwrap().success());
    steered.lines.for_each(drop);
    assert!(steered.running.wait().success());
}

#[test]
fn a_run_that_goes_on_is_no_other_process_s_to_resume_but_can_be_replayed() {
    let place = Workplace::new();
    let mut steered = Steered::start(&place, RUN);
    steered.pause(&place);
    let output = place.regatta("resume run");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another process is using run"), "{text}");
    place.accepts("replay run --check");
    place.accepts("report run");
    steered.running.signal("-KILL");
    steered.lines.for_each(drop);
    steered.running.wait();
    // The lock went with the process.
    let (resumed, mut lines) = Running::start(&place, "resume run");
    lines
        .find(|line| line.starts_with("resuming after"))
        .unwrap();
    resumed.kill();
}

#[test]
fn the_log_goes_to_a_file_as_well_and_after_a_hangup_to_a_new_one() {
    let place = Workplace::new();
    let mut steered = Steered::start(&place, &format!("{RUN} --log_file log"));
    let first = steered.pause(&place);
    let (log, moved) = (place.path().join("log"), place.path().join("log.1"));
    fs::rename(&log, &moved).unwrap();
    steered.running.signal("-HUP");
    place.wait_for("log");
    place.accepts(&steered.line("resume"));
    let told = format!(" {}/1000000", first + 1);
    steered.lines.find(|line| line.contains(&told)).unwrap();
    place.accepts(&steered.line("stop"));
    steered.lines.for_each(drop);
    assert!(steered.running.wait().success());
    let (old, new) = (place.read("log.1"), place.read("log"));
    assert!(old.contains(&format!("round {first} ended")), "{old}");
    assert!(new.contains(&format!("round {} ended", first + 1)), "{new}");
    assert!(!new.contains(&format!("round {first} ended")), "{new}");
    let errors = place.errors("check --task rte --model models/tiny --log_file none/log");
    assert!(
        errors.len() == 1 && errors[0].contains("--log_file"),
        "{errors:?}"
    );
}
