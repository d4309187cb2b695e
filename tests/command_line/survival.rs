//! Runs with scripted faults: the same on any number of lanes, after any kill, and again.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use regatta_actors::ids::Digest;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::workplace::{Running, Workplace};

/// Every kind of fault, on six clients with two examples each.
pub const FAULTS: &str = r#"
task = "rte"
model = "models/tiny"
num_clients = 6
rounds = 6
local_epochs = 2
batch_size = 1
agg_type = "fedex"
metrics = "off"

[clients.slow]
clients = [1, 4]
speed = 1
latency = "10 ms"

[clients.fast]
speed = 4
availability = { kind = "markov", on = "1 min", off = "2 s" }

[policy]
kind = "deadline"
after = "6 s"
late = "carry"

[too_few]
minimum = 2
then = "retry(3)"

[[faults]]
kind = "straggle"
probability = 0.3
slowdown = "uniform(2, 4)"

[[faults]]
kind = "drop"
clients = 2
rounds = 2
at = 0.5
rejoin = 4

[[faults]]
kind = "crash"
clients = 0
rounds = "3..4"

[[faults]]
kind = "lane_failure"
clients = 3
rounds = 2

[[faults]]
kind = "slow_link"
clients = 5
factor = 3

[[faults]]
kind = "lost_update"
probability = 0.1

[[faults]]
kind = "duplicate_update"
probability = 0.2
delay = "1 s"

[[faults]]
kind = "late_update"
probability = 0.2
delay = "4 s"

[[faults]]
kind = "corrupt_update"
clients = 4
corruption = "nan"

[[faults]]
kind = "server_crash"
rounds = 3
delay = "2 s"
"#;

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("faults.toml", FAULTS);
    place
}

fn rounds(place: &Workplace, folder: &str) -> Vec<RoundRecord> {
    let mut records = place.rounds(folder);
    records.iter_mut().for_each(RoundRecord::forget_wall_time);
    records
}

fn digests(place: &Workplace, folder: &str) -> Vec<Digest> {
    let rounds = rounds(place, folder).into_iter();
    rounds.map(|round| round.state_digest).collect()
}

pub fn assert_same(place: &Workplace, one: &str, other: &str) {
    assert_eq!(digests(place, one), digests(place, other));
    assert_eq!(rounds(place, one), rounds(place, other));
    let ledger = |folder: &str| place.read(&format!("{folder}/events.jsonl"));
    assert!(ledger(one) == ledger(other), "the ledgers differ");
}

#[test]
fn faults_strike_alike_on_one_two_and_four_lanes_and_a_replay_agrees() {
    let place = place();
    for lanes in [1, 2, 4] {
        place.accepts(&format!("run faults.toml --lanes {lanes} --out on-{lanes}"));
    }
    assert_same(&place, "on-1", "on-2");
    assert_same(&place, "on-1", "on-4");
    let said = place.accepts("replay on-1 --check --lanes 2");
    assert!(said.contains("events are the same"), "{said}");
    let said = place.accepts("report on-1");
    for text in [
        "client-2",
        "crash",
        "corrupt_update",
        "1 server crash",
        "complete",
    ] {
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_ledger_that_was_changed_does_not_replay_and_both_versions_are_shown() {
    let place = place();
    place.accepts("run faults.toml --out run");
    let ledger = place.read("run/events.jsonl");
    let at = ledger.find("\"digest\":\"").unwrap() + 10;
    let other = if &ledger[at..=at] == "0" { "1" } else { "0" };
    let changed = format!("{}{other}{}", &ledger[..at], &ledger[at + 1..]);
    place.write("run/events.jsonl", &changed);
    let output = place.regatta("replay run --check");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("differs from the ledger"), "{text}");
    assert!(
        text.contains("ledger: ") && text.contains("now: "),
        "{text}"
    );
}

#[test]
fn a_run_that_is_killed_and_resumed_ends_as_one_that_was_not() {
    let place = place();
    place.accepts("run faults.toml --out whole");
    for (i, wait) in [0, 40, 150].into_iter().enumerate() {
        let folder = format!("killed-{i}");
        let line = format!("run faults.toml --out {folder}");
        let (running, mut lines) = Running::start(&place, &line);
        // The folder is there; from then on anything may be happening.
        lines
            .find(|line| line.starts_with("results go to"))
            .unwrap();
        if i > 0 {
            lines.find(|line| line.starts_with("round ")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(wait));
        running.kill();
        if !place.path().join(&folder).join("events.jsonl").exists() {
            continue;
        }
        place.accepts(&format!("resume {folder}"));
        assert_same(&place, "whole", &folder);
        let summary = |folder: &str| {
            let text = place.read(&format!("{folder}/summary.json"));
            let summary: regatta::runs::folder::summary::Summary =
                serde_json::from_str(&text).unwrap();
            summary.totals
        };
        assert_eq!(summary("whole"), summary(&folder));
    }
}

#[test]
fn sigterm_finishes_the_round_and_saves_it_and_a_resumed_run_goes_on() {
    let place = place();
    place.accepts("run faults.toml --out whole");
    let line = "run faults.toml --out stopped --checkpoint_every 0";
    let (running, mut lines) = Running::start(&place, line);
    lines.find(|line| line.starts_with("round ")).unwrap();
    running.signal("-TERM");
    lines.for_each(drop);
    assert!(running.wait().success());
    if rounds(&place, "stopped").len() < 6 {
        let said = place.accepts("resume stopped");
        assert!(said.contains("resuming after round"), "{said}");
    }
    assert_eq!(digests(&place, "whole"), digests(&place, "stopped"));
}

/// A run of all rounds whose last checkpoint, that of round 5, is gone; and what it came to.
fn without_last_checkpoint(place: &Workplace, flags: &str) -> (PathBuf, Vec<RoundRecord>) {
    place.accepts(&format!("run faults.toml --out run {flags}"));
    let expected = rounds(place, "run");
    let last = place
        .path()
        .join("run/checkpoints/round-00000005.checkpoint");
    fs::remove_file(&last).unwrap();
    (last, expected)
}

/// A run that resumes and ends as it did before.
fn resumes(place: &Workplace, expected: &[RoundRecord]) {
    let said = place.accepts("resume run");
    assert!(said.contains("resuming after round 4"), "{said}");
    assert_eq!(rounds(place, "run"), expected);
}

fn cannot_write(output: &Output, what: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot write {what}")), "{text}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_the_run_and_the_last_good_one_loads() {
    let place = place();
    let (last, expected) = without_last_checkpoint(&place, "");
    let ledger = place.read("run/events.jsonl");
    // Even root cannot write a file where a folder is.
    let obstacle = last.with_extension("partial");
    fs::create_dir(&obstacle).unwrap();
    let output = place.regatta("resume run");
    cannot_write(&output, "run/checkpoints/round-00000005.checkpoint");
    fs::remove_dir(&obstacle).unwrap();
    resumes(&place, &expected);
    assert_eq!(place.read("run/events.jsonl"), ledger);
}

#[test]
fn a_disk_without_room_stops_the_run_and_it_goes_on_when_there_is_room_again() {
    let place = place();
    let (last, expected) = without_last_checkpoint(&place, "");
    let ledger = place.read("run/events.jsonl");
    let good = last.with_file_name("round-00000004.checkpoint");
    // A file may grow to half of what a checkpoint takes, in blocks of 512 bytes.
    let blocks = fs::metadata(&good).unwrap().len() / 2 / 512;
    let resume = place.command("resume run");
    let mut limited = Command::new("sh");
    let script = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(resume.get_program());
    limited.args(resume.get_args()).current_dir(place.path());
    limited.env("XDG_CACHE_HOME", place.path().join("cache"));
    let output = limited.output().unwrap();
    cannot_write(&output, "run/checkpoints/round-00000005.checkpoint");
    let left = fs::read_dir(good.parent().unwrap()).unwrap();
    let partial = |path: PathBuf| path.extension().is_some_and(|e| e == "partial");
    assert!(!left.map(|entry| entry.unwrap().path()).any(partial));
    resumes(&place, &expected);
    assert_eq!(place.read("run/events.jsonl"), ledger);
}

#[test]
fn without_a_ledger_a_run_is_the_same_and_can_be_resumed() {
    let place = place();
    place.accepts("run faults.toml --out whole");
    let (_, expected) = without_last_checkpoint(&place, "--ledger=false");
    assert_eq!(expected, rounds(&place, "whole"));
    resumes(&place, &expected);
    assert!(!place.path().join("run/events.jsonl").exists());
}

#[test]
fn a_run_is_not_resumed_with_settings_or_data_that_change_its_results() {
    let place = place();
    place.accepts("run faults.toml --out run");
    let refused = |what: &str| {
        let output = place.regatta("resume run");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(what), "{text}");
    };
    let scenario = place.read("run/scenario.toml");
    let with = |old: &str, new: &str| {
        assert!(scenario.contains(old), "{scenario}");
        place.write("run/scenario.toml", &scenario.replace(old, new));
    };
    with("lr = 0.001", "lr = 0.01");
    refused("lr was 0.001 and is 0.01 now");
    with("corruption = \"nan\"", "corruption = \"sign_flip\"");
    refused("faults is not what it was");
    with("keep_checkpoints = 3", "keep_checkpoints = 4");
    place.accepts("resume run --lanes 1");
    let train = "data/glue/RTE/train.tsv";
    let examples = place.read(train);
    place.write(train, &examples.replace("a boat 3", "a boat boat"));
    refused("data is not what it was");
    place.write(train, &examples);
    fs::rename(place.path().join("data"), place.path().join("moved")).unwrap();
    with("data = \"data/glue\"", "data = \"moved/glue\"");
    place.accepts("resume run");
}

#[test]
fn a_run_without_a_ledger_or_without_a_scenario_cannot_be_resumed() {
    let place = place();
    fs::create_dir(place.path().join("nothing")).unwrap();
    let output = place.regatta("resume nothing");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("nothing holds no run"), "{text}");
}
