use std::os::unix::fs::symlink;

use super::*;
use crate::ids::ClientId;

fn drop_client(client: u32, after_round: u32) -> Intervention {
    let client = ClientId(client);
    Intervention {
        after_round,
        command: ControlCommand::DropClient { client },
    }
}

fn place(folder: &tempfile::TempDir) -> Arc<Place> {
    Arc::new(Place::new(folder.path().join("checkpoints")))
}

/// A ledger with these commands in it, and nothing else.
fn ledger(folder: &tempfile::TempDir, commands: &[Intervention]) -> PathBuf {
    let path = folder.path().join("events.jsonl");
    let mut text = String::new();
    for (sequence, intervention) in (1..).zip(commands) {
        let entry = ledger::Entry {
            sequence,
            time: crate::clock::VirtualTime::default(),
            event: crate::protocol::event::Event::Intervention(*intervention),
        };
        text += &ledger::line(&entry).unwrap();
        text += "\n";
    }
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_was_kept_is_known_in_the_order_of_its_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let mut log = InterventionLog::open(place.clone(), &[]).unwrap();
    assert!(!place.folder().exists(), "there is nothing to write");
    for (client, round) in [(1, 60), (2, 10), (3, 60), (4, 10)] {
        log.keep(&drop_client(client, round)).unwrap();
    }
    let stop = Intervention {
        after_round: 1,
        command: ControlCommand::FinishRound,
    };
    log.keep(&stop).unwrap();
    let expected = [(2, 10), (4, 10), (1, 60), (3, 60)].map(|(c, r)| drop_client(c, r));
    assert_eq!(known(Some(&place), None), Ok(expected.to_vec()));
    // A log that is gone on with has what it had, and takes more.
    let mut log = InterventionLog::open(place.clone(), &expected).unwrap();
    log.keep(&drop_client(5, 61)).unwrap();
    let all = known(Some(&place), None).unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(all[4], drop_client(5, 61));
}

#[test]
fn log_and_ledger_are_one_list_and_nothing_is_in_it_twice() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let (a, b) = (drop_client(1, 3), drop_client(2, 5));
    assert_eq!(known(Some(&place), Some(&ledger(&folder, &[]))), Ok(vec![]));
    // Of an older version there is only a ledger.
    let path = ledger(&folder, &[a, a, b]);
    assert_eq!(known(Some(&place), Some(&path)), Ok(vec![a, a, b]));
    assert_eq!(known(None, Some(&path)), Ok(vec![a, a, b]));
    for kept in [&[a, a, b][..], &[a, a], &[a], &[b], &[]] {
        InterventionLog::open(place.clone(), kept).unwrap();
        assert_eq!(
            known(Some(&place), Some(&path)),
            Ok(vec![a, a, b]),
            "{kept:?}"
        );
    }
}

#[test]
fn a_line_that_a_kill_cut_off_does_not_count_and_is_gone_when_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let (a, b) = (drop_client(1, 3), drop_client(2, 5));
    InterventionLog::open(place.clone(), &[a, b]).unwrap();
    let path = path(&place);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let found = known(Some(&place), None).unwrap();
    assert_eq!(found, [a]);
    let mut log = InterventionLog::open(place.clone(), &found).unwrap();
    log.keep(&b).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn what_cannot_be_written_is_an_error_and_the_log_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let a = drop_client(1, 3);
    let mut log = InterventionLog::open(place.clone(), &[a]).unwrap();
    // A device on which there is never room.
    log.file = Some(File::options().append(true).open("/dev/full").unwrap());
    let error = log.keep(&drop_client(2, 5)).unwrap_err().to_string();
    assert!(
        error.contains("cannot write") && error.contains(NAME),
        "{error}"
    );
    assert_eq!(known(Some(&place), None), Ok(vec![a]));
}

#[test]
fn a_folder_that_was_moved_gets_nothing_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (run, moved) = (folder.path().join("run"), folder.path().join("moved"));
    fs::create_dir(&run).unwrap();
    let place = Arc::new(Place::new(run.join("checkpoints")));
    let mut log = InterventionLog::open(place, &[]).unwrap();
    fs::rename(&run, &moved).unwrap();
    assert!(log.keep(&drop_client(1, 3)).is_err());
    assert!(!run.exists());
    symlink(&moved, &run).unwrap();
    log.keep(&drop_client(1, 3)).unwrap();
}
