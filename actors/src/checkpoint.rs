//! Checkpoints: all that a run needs to go on, in one file, written whole or not at all.
//!
//! A file is one line, `regatta checkpoint 1 DIGEST`, and a MessagePack body with that BLAKE3
//! digest. No generator's state is in it: random streams are keyed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::learner::Digest;
use crate::ledger::RecordError;
use crate::plan::{CheckpointPolicy, ClockMode, FederationPlan};

const MAGIC: &str = "regatta checkpoint 1 ";
const EXTENSION: &str = "checkpoint";

/// All that a run needs to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Of the plan that it is of.
    pub plan: Digest,
    /// That plan's [`FederationPlan::course`], to say what was changed.
    pub course: BTreeMap<String, String>,
    /// The last round in it.
    pub round: u32,
    /// Ledger entries until then.
    pub recorded: u64,
    /// The scheduler's state.
    #[serde(with = "serde_bytes")]
    pub(crate) scheduler: Vec<u8>,
    /// The folder's state, as [`Folder::checkpoint`](crate::learner::Folder::checkpoint) gave it.
    #[serde(with = "serde_bytes")]
    pub folder: Vec<u8>,
    /// Updates on their way.
    #[serde(with = "serde_bytes")]
    pub(crate) slots: Vec<u8>,
}

/// A folder of checkpoints of one plan.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    folder: PathBuf,
    keep: u32,
    plan: Digest,
    course: BTreeMap<String, String>,
}

impl CheckpointStore {
    /// The checkpoints of `plan` in `folder`, which is made when the first one is saved.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, plan: &FederationPlan) -> Self {
        Self {
            folder: folder.into(),
            keep: plan.checkpoints.keep,
            plan: digest(plan),
            course: plan.course.clone(),
        }
    }

    /// What checkpoints of this plan are marked with.
    #[must_use]
    pub fn plan(&self) -> &Digest {
        &self.plan
    }

    /// What this plan's checkpoints say of its course.
    #[must_use]
    pub fn course(&self) -> &BTreeMap<String, String> {
        &self.course
    }

    /// Writes a checkpoint and removes those that are no longer to be kept. Gives its size in
    /// bytes. What was there before stays loadable if this fails.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<u64, RecordError> {
        let path = self.path(checkpoint.round);
        let failed = |e: std::io::Error| RecordError::file(&path, "write", e);
        let body = rmp_serde::to_vec_named(checkpoint)
            .map_err(|e| RecordError::file(&path, "write", e))?;
        let head = format!("{MAGIC}{}\n", Digest::of(&body).0);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let partial = path.with_extension("partial");
        let written = write_synced(&partial, &[head.as_bytes(), &body]);
        let written = written.and_then(|()| fs::rename(&partial, &path));
        if let Err(error) = written {
            // It may not even be there; the error to tell is the first one.
            let _ = fs::remove_file(&partial);
            return Err(failed(error));
        }
        sync_folder(&self.folder).map_err(failed)?;
        self.prune()?;
        Ok((head.len() + body.len()) as u64)
    }

    /// The last checkpoint that is whole; `None`: there is none at all.
    ///
    /// # Errors
    /// When none of those that are there is whole, or the last whole one is of another plan.
    pub fn latest(&self) -> Result<Option<Checkpoint>, RecordError> {
        let mut first_error = None;
        for path in self.list()?.into_iter().rev() {
            match self.load(&path) {
                Ok(checkpoint) => return self.of_this_plan(&path, checkpoint).map(Some),
                Err(error) => {
                    tracing::warn!("{error}; trying the one before");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    fn of_this_plan(&self, path: &Path, checkpoint: Checkpoint) -> Result<Checkpoint, RecordError> {
        if checkpoint.plan == self.plan {
            return Ok(checkpoint);
        }
        let changes = changes(&checkpoint.course, &self.course);
        let what = match changes.as_str() {
            "" => "something that changes the run's course was changed",
            changes => changes,
        };
        let reason = format!("it is of another plan: {what}; undo that, or begin a new run");
        Err(RecordError::file(path, "go on from", reason))
    }

    fn load(&self, path: &Path) -> Result<Checkpoint, RecordError> {
        let failed = |reason: String| RecordError::file(path, "load", reason);
        let bytes = fs::read(path).map_err(|e| failed(e.to_string()))?;
        let not_one = || failed("it is no checkpoint".into());
        let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or_else(not_one)?;
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(not_one)?;
        let (digest, body) = (&rest[..end], &rest[end + 1..]);
        if Digest::of(body).0.as_bytes() != digest {
            return Err(failed("it is damaged: its digest does not match".into()));
        }
        rmp_serde::from_slice(body).map_err(|e| failed(e.to_string()))
    }

    fn path(&self, round: u32) -> PathBuf {
        self.folder.join(format!("round-{round:08}.{EXTENSION}"))
    }

    /// The files, oldest first.
    fn list(&self) -> Result<Vec<PathBuf>, RecordError> {
        let failed = |e| RecordError::file(&self.folder, "list", e);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let paths = entries.map(|entry| entry.map(|e| e.path()));
        let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        paths.retain(|path| path.extension().is_some_and(|e| e == EXTENSION));
        paths.sort();
        Ok(paths)
    }

    fn prune(&self) -> Result<(), RecordError> {
        let paths = self.list()?;
        let old = paths.len().saturating_sub(self.keep as usize);
        for path in &paths[..old] {
            fs::remove_file(path).map_err(|e| RecordError::file(path, "remove", e))?;
        }
        Ok(())
    }
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Makes a rename in a folder last.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The longest value that is shown.
const SHOWN: usize = 40;

/// What differs between the course of a run and another one, key by key.
fn changes(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> String {
    let keys: BTreeSet<_> = was.keys().chain(is.keys()).collect();
    let change = |key: &String| {
        let (old, new) = (was.get(key), is.get(key));
        let short = [old, new].into_iter().flatten().all(|v| v.len() <= SHOWN);
        match (old, new) {
            _ if old == new => None,
            (Some(old), Some(new)) if short => Some(format!("{key} was {old} and is {new} now")),
            (Some(old), None) if short => Some(format!("{key} was {old} and is not set now")),
            (None, Some(new)) if short => Some(format!("{key} was not set and is {new} now")),
            _ => Some(format!("{key} is not what it was")),
        }
    };
    let changes: Vec<_> = keys.into_iter().filter_map(change).collect();
    changes.join(", ")
}

/// Identifies what decides a run's course; not on how many lanes, nor how often it is saved.
fn digest(plan: &FederationPlan) -> Digest {
    let mut plan = plan.clone();
    plan.lanes = 0;
    plan.clients
        .iter_mut()
        .for_each(|client| client.lane = None);
    plan.checkpoints = CheckpointPolicy::default();
    plan.watchdog_seconds = None;
    if let ClockMode::Wall { scale } = &mut plan.clock {
        *scale = 1.0;
    }
    // A plan is plain data: it can always be written.
    Digest::of(&rmp_serde::to_vec(&plan).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ClientPlan;

    fn plan() -> FederationPlan {
        FederationPlan::new("test", 1, vec![ClientPlan::new("a", 1)])
    }

    fn checkpoint(store: &CheckpointStore, round: u32) -> Checkpoint {
        Checkpoint {
            plan: store.plan().clone(),
            course: store.course().clone(),
            round,
            recorded: 7,
            scheduler: vec![1],
            folder: vec![2; 1000],
            slots: vec![],
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
    fn what_was_changed_in_the_course_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let with = |entries: &[(&str, &str)]| FederationPlan {
            course: entries
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
}
