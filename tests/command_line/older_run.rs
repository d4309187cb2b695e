//! A run folder that an older version wrote is read, reported, replayed and gone on with.

use std::fs;
use std::path::Path;

use regatta_actors::ids::ClientId;
use regatta_actors::protocol::control::ControlCommand;

use crate::workplace::{Running, Workplace};

/// A place with the older version's run in `run`, and what it is a run of.
fn place() -> Workplace {
    let place = Workplace::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/older_run");
    copy(&fixture, place.path());
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).unwrap()),
        }
    }
}

fn interventions(place: &Workplace, folder: &str) -> Vec<(u32, ControlCommand)> {
    let path = place.path().join(folder).join("events.jsonl");
    let account = regatta::runs::history::clients::RunStats::read(&path).unwrap();
    let taken = account.interventions.into_iter();
    taken.map(|i| (i.after_round, i.command)).collect()
}

#[test]
fn it_is_listed_reported_and_replayed() {
    let place = place();
    let said = place.accepts("runs . --format csv");
    assert!(
        said.contains("run,rte,fedit,lora,3,7,30,interrupted"),
        "{said}"
    );
    let said = place.accepts("report run");
    assert!(
        said.contains("DropClient") && said.contains("SlowClient"),
        "{said}"
    );
    place.accepts("compare run run");
    let output = place.regatta("replay run --check");
    let said = String::from_utf8_lossy(&output.stderr);
    // Another kind of processor may round otherwise; nothing else may differ.
    let rounded = said.contains("\"event\":\"update_received\"");
    assert!(output.status.success() || rounded, "{said}");
}

#[test]
fn it_is_gone_on_with_from_its_checkpoint_and_its_commands_survive_kills() {
    let place = place();
    let client = ClientId;
    let expected = [
        (
            1,
            ControlCommand::SlowClient {
                client: client(2),
                factor: 1.5,
            },
        ),
        (3, ControlCommand::DropClient { client: client(1) }),
    ];
    assert_eq!(interventions(&place, "run"), expected);
    copy(&place.path().join("run"), &place.path().join("once"));
    let said = place.accepts("resume once");
    assert!(!place.read("once/events.jsonl").is_empty(), "{said}");
    assert_eq!(interventions(&place, "once"), expected);
    // The other is killed as soon as it is back at its checkpoint, and does not start at all once.
    for _ in 0..2 {
        let (running, lines) = Running::start(&place, "resume run");
        place.wait_for("run/checkpoints/interventions.jsonl");
        running.kill();
        drop(lines);
    }
    fs::rename(place.path().join("glue"), place.path().join("away")).unwrap();
    assert!(!place.regatta("resume run").status.success());
    fs::rename(place.path().join("away"), place.path().join("glue")).unwrap();
    place.accepts("resume run");
    assert_eq!(interventions(&place, "run"), expected);
    let digests = |folder: &str| {
        let rounds = place.rounds(folder).into_iter();
        rounds.map(|round| round.state_digest).collect::<Vec<_>>()
    };
    assert_eq!(digests("run").len(), 30);
    assert_eq!(digests("run"), digests("once"));
}
