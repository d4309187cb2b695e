use super::*;
use crate::plan::ClientPlan;

fn plan() -> FederationPlan {
    FederationPlan::new("test", 1, vec![ClientPlan::new("a", 1)])
}

fn checkpoint(store: &CheckpointStore, round: u32) -> Checkpoint {
    Checkpoint {
        plan: store.plan().clone(),
        fingerprint: store.fingerprint().clone(),
        canary: store.canary().cloned(),
        round,
        recorded: 7,
        ledger: None,
        scheduler: vec![1],
        aggregator: vec![2; 1000],
        updates: vec![],
    }
}

#[test]
fn the_last_ones_are_kept_and_the_newest_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path().join("new"), &plan());
    assert_eq!(store.latest(), Ok(None));
    for round in 1..=5 {
        store.save(&checkpoint(&store, round)).unwrap();
    }
    assert_eq!(store.list().unwrap().len(), 3);
    assert_eq!(store.latest(), Ok(Some(checkpoint(&store, 5))));
}

#[test]
fn a_damaged_one_is_passed_over_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    for round in 1..=2 {
        store.save(&checkpoint(&store, round)).unwrap();
    }
    let damage = |round| {
        let mut bytes = fs::read(store.path(round)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(store.path(round), bytes).unwrap();
    };
    damage(2);
    assert_eq!(store.latest(), Ok(Some(checkpoint(&store, 1))));
    damage(1);
    let error = store.latest().unwrap_err().to_string();
    assert!(
        error.contains("round-00000002") && error.contains("digest"),
        "{error}"
    );
}

#[test]
fn another_plan_s_checkpoint_is_refused_but_lanes_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    store.save(&checkpoint(&store, 1)).unwrap();
    let more_lanes = FederationPlan { lanes: 4, ..plan() };
    let store = CheckpointStore::new(folder.path(), &more_lanes);
    assert!(store.latest().unwrap().is_some());
    let other_seed = FederationPlan { seed: 2, ..plan() };
    let store = CheckpointStore::new(folder.path(), &other_seed);
    let error = store.latest().unwrap_err().to_string();
    assert!(error.contains("another plan"), "{error}");
}

#[test]
fn what_was_changed_in_the_fingerprint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let with = |entries: &[(&str, &str)]| FederationPlan {
        fingerprint: entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..plan()
    };
    let long = "x".repeat(100);
    let first = with(&[("lr", "0.1"), ("r", "4"), ("data", &long), ("seed", "1")]);
    let store = CheckpointStore::new(folder.path(), &first);
    store.save(&checkpoint(&store, 1)).unwrap();
    assert!(store.latest().unwrap().is_some());
    let other = with(&[("lr", "0.2"), ("bias", "all"), ("data", "y"), ("seed", "1")]);
    let error = CheckpointStore::new(folder.path(), &other).latest();
    let error = error.unwrap_err().to_string();
    for change in [
        "bias was not set and is all now",
        "data is not what it was",
        "lr was 0.1 and is 0.2 now",
        "r was 4 and is not set now",
    ] {
        assert!(error.contains(change), "{error}");
    }
    assert!(!error.contains("seed"), "{error}");
}

#[test]
fn a_run_goes_on_only_where_its_canary_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let with = |canary: Option<&[u8]>| {
        let canary = canary.map(Digest::of);
        CheckpointStore::new(folder.path(), &FederationPlan { canary, ..plan() })
    };
    let first = with(Some(b"a processor"));
    first.save(&checkpoint(&first, 1)).unwrap();
    assert!(first.latest().unwrap().is_some());
    assert!(with(None).latest().unwrap().is_some());
    let error = with(Some(b"another")).latest().unwrap_err().to_string();
    for digest in [Digest::of(b"a processor"), Digest::of(b"another")] {
        assert!(error.contains(&digest.0), "{error}");
    }
    // Of an older program's checkpoint nothing is known.
    let older = with(None);
    older.save(&checkpoint(&older, 2)).unwrap();
    assert!(with(Some(b"another")).latest().unwrap().is_some());
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    store.save(&checkpoint(&store, 1)).unwrap();
    // A folder in the way of the temporary file.
    fs::create_dir(store.path(2).with_extension("partial")).unwrap();
    let error = store.save(&checkpoint(&store, 2)).unwrap_err().to_string();
    assert!(
        error.contains("cannot write") && error.contains("round-00000002"),
        "{error}"
    );
    assert_eq!(store.latest(), Ok(Some(checkpoint(&store, 1))));
}

#[test]
fn damage_at_any_byte_and_an_end_at_any_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    for round in 1..=2 {
        store.save(&checkpoint(&store, round)).unwrap();
    }
    let bytes = fs::read(store.path(2)).unwrap();
    let earlier = Ok(Some(checkpoint(&store, 1)));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] = damaged[at].wrapping_add(1);
        fs::write(store.path(2), &damaged).unwrap();
        assert_eq!(store.latest(), earlier, "with another byte {at}");
        fs::write(store.path(2), &bytes[..at]).unwrap();
        assert_eq!(store.latest(), earlier, "with {at} bytes");
    }
    fs::write(store.path(2), [&bytes[..], b"\0"].concat()).unwrap();
    assert_eq!(store.latest(), earlier, "with a byte more");
}

#[test]
fn a_newer_version_s_checkpoint_is_refused_in_these_words() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    store.save(&checkpoint(&store, 1)).unwrap();
    let text = fs::read(store.path(1)).unwrap();
    let newer = [b"regatta checkpoint 12 ", &text[MAGIC.len()..]].concat();
    fs::write(store.path(1), newer).unwrap();
    let error = store.latest().unwrap_err().to_string();
    assert!(
        error.contains("it was written by a newer version: its format is 12"),
        "{error}"
    );
}

#[test]
fn lengths_that_no_memory_could_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    let refused = |bytes: &[u8], what: &str| {
        fs::write(store.path(1), bytes).unwrap();
        let error = store.latest().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    // A first line without an end, and a body that announces 4 GiB, with its right digest.
    refused(&vec![b'r'; 1 << 20], "not a checkpoint file");
    let body = b"\x87\xa4plan\xdb\xff\xff\xff\xffx";
    let head = format!("{MAGIC}{}\n", Digest::of(body).0);
    refused(&[head.as_bytes(), body].concat(), "cannot load");
}

#[test]
fn a_checkpoint_of_an_earlier_version_loads() {
    #[derive(Serialize)]
    struct Older<'a> {
        plan: &'a Digest,
        course: &'a BTreeMap<String, String>,
        round: u32,
        recorded: u64,
        #[serde(with = "serde_bytes")]
        scheduler: &'a [u8],
        #[serde(with = "serde_bytes")]
        folder: &'a [u8],
        #[serde(with = "serde_bytes")]
        slots: &'a [u8],
    }
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(folder.path(), &plan());
    let expected = checkpoint(&store, 1);
    let older = Older {
        plan: &expected.plan,
        course: &expected.fingerprint,
        round: expected.round,
        recorded: expected.recorded,
        scheduler: &expected.scheduler,
        folder: &expected.aggregator,
        slots: &expected.updates,
    };
    let body = rmp_serde::to_vec_named(&older).unwrap();
    let head = format!("{MAGIC}{}\n", Digest::of(&body).0);
    fs::write(store.path(1), [head.as_bytes(), &body].concat()).unwrap();
    assert_eq!(store.latest(), Ok(Some(expected)));
}

#[test]
fn no_checkpoint_is_written_where_the_run_s_folder_was_moved_away() {
    let temporary = tempfile::tempdir().unwrap();
    let (run, moved) = (temporary.path().join("run"), temporary.path().join("moved"));
    fs::create_dir(&run).unwrap();
    let store = CheckpointStore::new(run.join("checkpoints"), &plan());
    store.save(&checkpoint(&store, 1)).unwrap();
    fs::rename(&run, &moved).unwrap();
    let error = store.save(&checkpoint(&store, 2)).unwrap_err().to_string();
    assert!(error.contains("deleted or moved"), "{error}");
    assert!(!run.exists());
    fs::create_dir(&run).unwrap();
    let error = store.save(&checkpoint(&store, 2)).unwrap_err().to_string();
    assert!(error.contains("replaced"), "{error}");
    assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
}
