//! What happens to a run's folder during a run, and what is in it after a resume.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workplace::{Steered, Workplace};

const RUN: &str = "run --task rte --model models/tiny --num_clients 2 --local_epochs 1 \
                   --batch_size 4 --metrics off --web off --r 1 --agg_type fedit \
                   --keep_checkpoints 2";

/// Every file in a folder with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Starts a run, has this done to its folder between two rounds, and gives what it ends with.
fn meddled(place: &Workplace, meddle: impl FnOnce(&Path)) -> String {
    let line = format!("{RUN} --rounds 1000000 --out run --log_file log");
    let mut steered = Steered::start(place, &line);
    steered.pause(place);
    meddle(&place.path().join("run"));
    place.accepts(&steered.line("resume"));
    steered.lines.for_each(drop);
    assert_eq!(steered.running.wait().code(), Some(1));
    place.read("log")
}

#[test]
fn a_run_whose_folder_is_deleted_ends_and_makes_no_other() {
    let place = Workplace::new();
    let said = meddled(&place, |run| fs::remove_dir_all(run).unwrap());
    assert!(said.contains("deleted or moved"), "{said}");
    assert!(!place.path().join("run").exists());
}

#[test]
fn a_run_whose_folder_is_moved_ends_and_goes_on_from_where_it_is_now() {
    let place = Workplace::new();
    let moved = place.path().join("moved");
    let said = meddled(&place, |run| fs::rename(run, &moved).unwrap());
    assert!(said.contains("deleted or moved"), "{said}");
    assert!(!place.path().join("run").exists());
    let mut steered = Steered::start(&place, "resume moved");
    let round = steered.pause(&place);
    assert!(round > 1);
}

#[test]
fn a_run_whose_folder_is_replaced_ends_and_writes_nothing_into_the_other() {
    let place = Workplace::new();
    let mut expected = Vec::new();
    let said = meddled(&place, |run| {
        let moved = run.with_file_name("moved");
        fs::rename(run, &moved).unwrap();
        let copied = Command::new("cp").arg("-r").arg(&moved).arg(run).status();
        assert!(copied.unwrap().success());
        expected = files(run);
    });
    assert!(said.contains("replaced by another one"), "{said}");
    assert!(files(&place.path().join("run")) == expected);
}

#[test]
fn a_run_whose_lock_is_taken_away_ends() {
    let place = Workplace::new();
    let said = meddled(&place, |run| fs::remove_file(run.join("lock")).unwrap());
    assert!(
        said.contains("lock: it was deleted or moved during the run"),
        "{said}"
    );
    let place = Workplace::new();
    let said = meddled(&place, |run| {
        fs::remove_file(run.join("lock")).unwrap();
        fs::write(run.join("lock"), "").unwrap();
    });
    assert!(said.contains("lock: it was replaced"), "{said}");
}

#[test]
fn a_ledger_that_was_changed_is_refused_and_temporary_files_of_a_killed_process_are_removed() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --rounds 3 --out run"));
    fs::remove_file(place.path().join("run/summary.json")).unwrap();
    let ledger = place.read("run/events.jsonl");
    place.write(
        "run/events.jsonl",
        &ledger.replacen("\"steps\":", "\"steps\":1", 1),
    );
    let left = [
        "run/.regatta-aB3dE6",
        "run/.tmpaB3dE6",
        "run/checkpoints/round-00000002.partial",
    ];
    for name in left {
        place.write(name, "cut off");
    }
    place.write("run/mine.partial", "mine");
    let output = place.regatta("resume run");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("run/events.jsonl") && text.contains("have changed since the checkpoint"),
        "{text}"
    );
    assert!(left.iter().all(|name| !place.path().join(name).exists()));
    assert_eq!(place.read("run/mine.partial"), "mine");
    place.write("run/events.jsonl", &ledger);
    place.accepts("resume run");
    assert_eq!(place.read("run/events.jsonl"), ledger);
}

#[test]
fn files_that_end_inside_a_character_are_read_and_gone_on_with() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --rounds 3 --out run"));
    let ledger = place.read("run/events.jsonl");
    let rounds = place.read("run/rounds.jsonl");
    let cut = [&b"{\"name\":\"Z\xc3"[..], b"\0\0\0\0"];
    for rest in cut {
        let with_rest = |text: &str| {
            let end = text.trim_end().rfind('\n').unwrap() + 1;
            [&text.as_bytes()[..end], rest].concat()
        };
        let write = |name: &str, bytes: Vec<u8>| fs::write(place.path().join(name), bytes).unwrap();
        write("run/events.jsonl", with_rest(&ledger));
        write("run/rounds.jsonl", with_rest(&rounds));
        let said = place.accepts("runs . --format csv");
        assert!(said.contains(",2,3,interrupted,"), "{said}");
        place.accepts("report run");
        place.accepts("compare run run");
        place.accepts("replay run --check");
        place.accepts("resume run");
        assert_eq!(place.read("run/events.jsonl"), ledger);
    }
    // Damage in the middle is said, and where.
    let end = rounds.find('\n').unwrap();
    place.write("run/rounds.jsonl", &rounds[end - 10..]);
    let output = place.regatta("report run");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("line 1 of run/rounds.jsonl"), "{text}");
}

#[test]
fn a_disk_without_room_for_ledger_and_rounds_ends_the_run_and_it_goes_on_later() {
    let place = Workplace::new();
    let line = format!("{RUN} --checkpoint_every 0 --rounds 12 --out");
    place.accepts(&format!("{line} whole"));
    let run = place.command(&format!("{line} run"));
    let mut limited = Command::new("sh");
    // A file may grow to 4 KiB, in blocks of 512 bytes.
    let script = "ulimit -f 8; exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(run.get_program());
    limited.args(run.get_args()).current_dir(place.path());
    limited.env("XDG_CACHE_HOME", place.path().join("cache"));
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write"), "{text}");
    place.accepts("resume run");
    let ledger = |folder: &str| place.read(&format!("{folder}/events.jsonl"));
    assert!(ledger("run") == ledger("whole"));
}
