//! A sweep's runs as processes: one at a time in each folder, whoever is killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::workplace::{Running, Workplace};

const BASE: &str = "task = \"rte\"\nmodel = \"models/tiny\"\nnum_clients = 2\nlocal_epochs = 1\n\
                    batch_size = 4\nmetrics = \"off\"\nweb = \"off\"\nquiet = true\n";

/// A workplace with a sweep of these seeds, whose runs have further settings.
fn place(settings: &str, seeds: &str) -> Workplace {
    let place = Workplace::new();
    let text = format!("[settings]\n{BASE}{settings}\n[grid]\nseed = {seeds}\n");
    place.write("s.toml", &text);
    place
}

/// The folder of the run with a seed.
fn folder(place: &Workplace, seed: u32) -> PathBuf {
    let entries = fs::read_dir(place.path().join("runs/s")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let prefix = format!("seed{seed}-");
    paths
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(&prefix)
        })
        .unwrap()
}

/// The number of a round that a line tells of.
fn round_of(line: &str) -> Option<usize> {
    let (number, _) = line.strip_prefix("round ")?.split_once('/')?;
    number.trim().parse().ok()
}

/// The process that writes into a folder, as its lock tells.
fn holder(place: &Workplace, seed: u32) -> String {
    let text = fs::read_to_string(folder(place, seed).join("lock")).unwrap();
    text.split_once(' ').unwrap().0.to_owned()
}

fn is_alive(process: &str) -> bool {
    PathBuf::from(format!("/proc/{process}/exe"))
        .read_link()
        .is_ok()
}

fn wait_for_the_end_of(process: &str) {
    for _ in 0..6000 {
        if !is_alive(process) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("process {process} does not end");
}

fn events(place: &Workplace, seed: u32, kind: &str) -> usize {
    let ledger = fs::read_to_string(folder(place, seed).join("events.jsonl")).unwrap();
    ledger.matches(&format!("\"{kind}\"")).count()
}

/// The numbers of a run's rounds, each of which has to come once and in its place.
fn rounds(place: &Workplace, seed: u32) -> usize {
    let text = fs::read_to_string(folder(place, seed).join("rounds.jsonl")).unwrap();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    for (index, line) in whole.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["round"], index as u64 + 1, "{whole}");
    }
    whole.lines().count()
}

#[test]
fn a_sweep_that_is_killed_or_hung_up_takes_its_run_along_and_the_next_goes_on() {
    for signal in ["-KILL", "-HUP", "-TERM", "-INT"] {
        let place = place("rounds = 100000", "[1]");
        let (sweep, mut lines) = Running::start(&place, "sweep s.toml");
        lines.find(|line| line.starts_with("round ")).unwrap();
        let run = holder(&place, 1);
        assert!(is_alive(&run));
        sweep.signal(signal);
        let status = sweep.wait();
        // The next one begins at once, and finds the run ending or ended.
        let (next, mut said) = Running::start(&place, "sweep s.toml");
        said.find(|line| line.starts_with("resuming after round "))
            .unwrap_or_else(|| panic!("{signal}: the run does not resume"));
        assert!(!is_alive(&run), "{signal}");
        assert_ne!(holder(&place, 1), run, "{signal}");
        said.find(|line| line.starts_with("round ")).unwrap();
        next.signal("-TERM");
        said.for_each(drop);
        next.wait();
        let expected = if signal == "-KILL" { None } else { Some(1) };
        assert_eq!(status.code(), expected, "{signal}");
        assert_eq!(events(&place, 1, "run_started"), 1, "{signal}");
        assert!(rounds(&place, 1) > 1, "{signal}");
    }
}

#[test]
fn a_sweep_that_was_told_to_outlive_its_terminal_does() {
    let place = place("rounds = 100000", "[1]");
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_regatta");
    command
        .args(["-c", &format!("trap '' HUP; exec '{program}' sweep s.toml")])
        .current_dir(place.path());
    let (sweep, mut lines) = Running::of(command);
    lines.find(|line| line.starts_with("round ")).unwrap();
    sweep.signal("-HUP");
    let after = rounds(&place, 1);
    let later = |round: &usize| *round > after + 2;
    lines
        .filter_map(|line| round_of(&line))
        .find(later)
        .unwrap();
    let run = holder(&place, 1);
    sweep.signal("-TERM");
    assert_eq!(sweep.wait().code(), Some(1));
    assert!(!is_alive(&run));
}

#[test]
fn a_live_run_is_waited_for_and_not_touched_even_before_it_has_saved_anything() {
    let place = place(
        "rounds = 100000\nledger = false\ncheckpoint_every = 100000",
        "[1]",
    );
    let (first, mut lines) = Running::start(&place, "sweep s.toml");
    lines.find(|line| line.starts_with("round ")).unwrap();
    let run = holder(&place, 1);
    let (second, mut said) = Running::start(&place, "sweep s.toml");
    let waits = said.find(|line| line.starts_with("waiting: ")).unwrap();
    assert!(
        waits.contains("another process is using")
            && waits.contains(&format!("(process {run} on ")),
        "{waits}"
    );
    second.signal("-TERM");
    said.for_each(drop);
    assert_eq!(second.wait().code(), Some(1));
    // Others are refused, and change nothing either.
    let path = folder(&place, 1);
    let path = path.display();
    let base = BASE
        .replace("\n", " --")
        .replace(" = ", "=")
        .replace('"', "");
    let flags = base.trim_end_matches(" --");
    for line in [
        format!("resume {path}"),
        format!("run --{flags} --out {path}"),
    ] {
        let output = place.regatta(&line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{line}");
        assert!(errors.contains("another process is using "), "{errors}");
        assert!(errors.contains(&format!("(process {run} on ")), "{errors}");
    }
    let before = rounds(&place, 1);
    lines
        .by_ref()
        .filter_map(|line| round_of(&line))
        .find(|round: &usize| *round > before + 2)
        .unwrap();
    first.signal("-TERM");
    lines.for_each(drop);
    assert_eq!(first.wait().code(), Some(1));
    assert!(rounds(&place, 1) > before);
    assert!(folder(&place, 1).join("summary.json").exists());
}

#[test]
fn two_sweeps_of_one_file_start_no_run_twice_and_both_end_well() {
    let place = place("rounds = 8", "[1, 2, 3]");
    let sweeps: Vec<_> = (0..2)
        .map(|_| Running::start(&place, "sweep s.toml"))
        .collect();
    for (sweep, lines) in sweeps {
        let said: Vec<String> = lines.collect();
        assert!(sweep.wait().success(), "{said:?}");
    }
    for seed in 1..=3 {
        assert_eq!(events(&place, seed, "run_started"), 1);
        assert_eq!(events(&place, seed, "run_resumed"), 0);
        assert_eq!(rounds(&place, seed), 8);
    }
}

#[test]
fn a_run_that_was_killed_before_it_had_saved_anything_starts_again() {
    let place = place(
        "rounds = 100000\nledger = false\ncheckpoint_every = 100000",
        "[1]",
    );
    for _ in 0..2 {
        let (sweep, mut lines) = Running::start(&place, "sweep s.toml");
        assert_eq!(lines.find_map(|line| round_of(&line)), Some(1));
        lines.find(|line| line.starts_with("round ")).unwrap();
        let run = holder(&place, 1);
        assert!(
            Command::new("kill")
                .args(["-KILL", &run])
                .status()
                .unwrap()
                .success()
        );
        lines.for_each(drop);
        assert_eq!(sweep.wait().code(), Some(1));
        wait_for_the_end_of(&run);
    }
    // What is not the run's is not removed.
    let note = folder(&place, 1).join("note.txt");
    fs::write(&note, "mine").unwrap();
    let output = place.regatta("sweep s.toml");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("cannot be used for a new run because of note.txt; move that away"),
        "{errors}"
    );
    assert_eq!(fs::read_to_string(note).unwrap(), "mine");
    assert!(folder(&place, 1).join("rounds.jsonl").exists());
}

#[test]
fn a_complete_run_is_kept_whatever_it_saved() {
    let place = place("rounds = 2\nledger = false\ncheckpoint_every = 0", "[1]");
    place.accepts("sweep s.toml");
    let modified = || {
        fs::metadata(folder(&place, 1).join("summary.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = modified();
    let said = place.accepts("sweep s.toml");
    assert!(said.contains("already complete"), "{said}");
    assert_eq!(before, modified());
}

#[test]
fn several_runs_are_carried_out_by_their_numbers() {
    let place = place("rounds = 1", "[1, 2, 3]");
    place.accepts("sweep --only 0,2 -- s.toml");
    assert_eq!(
        fs::read_dir(place.path().join("runs/s")).unwrap().count(),
        2
    );
    assert_eq!((rounds(&place, 1), rounds(&place, 3)), (1, 1));
    let errors = place.errors("sweep s.toml --only 1,3,7");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[1].contains("--only=7: the sweep has 3 runs"),
        "{errors:?}"
    );
}
