//! Checkpoints: everything a run needs to resume, in one file, written whole or not at all.
//!
//! A file is one line, `regatta checkpoint 1 DIGEST`, and a MessagePack body with that BLAKE3
//! digest. No generator's state is in it: random streams are keyed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::journal::place::Place;
use crate::plan::{CheckpointPolicy, ClockMode, FederationPlan};
use crate::protocol::command::LedgerMark;
use crate::protocol::outcome::RecordError;

const NAME: &str = "regatta checkpoint ";
/// The format that is written.
const VERSION: u64 = 1;
const MAGIC: &str = "regatta checkpoint 1 ";
const EXTENSION: &str = "checkpoint";

/// Everything a run needs to resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Of the plan that it is of.
    pub plan: Digest,
    /// That plan's [`FederationPlan::fingerprint`], to say what was changed.
    #[serde(rename = "course")]
    pub fingerprint: BTreeMap<String, String>,
    /// That plan's [`FederationPlan::canary`].
    #[serde(default)]
    pub canary: Option<Digest>,
    /// The last round in it.
    pub round: u32,
    /// Ledger entries until then.
    pub recorded: u64,
    /// The ledger until then; `None`: there is none, or an older version wrote this.
    #[serde(default)]
    pub ledger: Option<LedgerMark>,
    /// The scheduler's state.
    #[serde(with = "serde_bytes")]
    pub(crate) scheduler: Vec<u8>,
    /// The aggregator's state, as
    /// [`ServerAggregator::checkpoint`](crate::workload::ServerAggregator::checkpoint) gave it.
    #[serde(with = "serde_bytes", alias = "folder")]
    pub aggregator: Vec<u8>,
    /// Updates on their way.
    #[serde(with = "serde_bytes", alias = "slots")]
    pub(crate) updates: Vec<u8>,
}

/// A folder of checkpoints of one plan.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    place: Arc<Place>,
    keep: u32,
    plan: Digest,
    fingerprint: BTreeMap<String, String>,
    canary: Option<Digest>,
}

impl CheckpointStore {
    /// The checkpoints of `plan` in `folder`, which is made when the first one is saved.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, plan: &FederationPlan) -> Self {
        Self {
            place: Arc::new(Place::new(folder.into())),
            keep: plan.checkpoints.keep,
            plan: digest(plan),
            fingerprint: plan.fingerprint.clone(),
            canary: plan.canary.clone(),
        }
    }

    /// What checkpoints of this plan are marked with.
    #[must_use]
    pub fn plan(&self) -> &Digest {
        &self.plan
    }

    /// The plan's fingerprint, which its checkpoints record.
    #[must_use]
    pub fn fingerprint(&self) -> &BTreeMap<String, String> {
        &self.fingerprint
    }

    /// The plan's canary, which its checkpoints record.
    #[must_use]
    pub fn canary(&self) -> Option<&Digest> {
        self.canary.as_ref()
    }

    /// Writes a checkpoint and removes those that are no longer to be kept. Gives its size in
    /// bytes. What was there before stays loadable if this fails.
    ///
    /// # Errors
    /// If something cannot be written, or the folder that this one is in was moved, deleted or
    /// replaced since this store was made.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<u64, RecordError> {
        let path = self.path(checkpoint.round);
        let failed = |e: std::io::Error| RecordError::file(&path, "write", e);
        let body = rmp_serde::to_vec_named(checkpoint)
            .map_err(|e| RecordError::file(&path, "write", e))?;
        let head = format!("{MAGIC}{}\n", Digest::of(&body).0);
        self.place.make().map_err(failed)?;
        let partial = path.with_extension("partial");
        let written = write_synced(&partial, &[head.as_bytes(), &body]);
        let written = written.and_then(|()| fs::rename(&partial, &path));
        if let Err(error) = written {
            // It may not even be there; the error to tell is the first one.
            let _ = fs::remove_file(&partial);
            return Err(failed(error));
        }
        self.place.sync().map_err(failed)?;
        self.prune()?;
        Ok((head.len() + body.len()) as u64)
    }

    /// The last checkpoint that is whole; `None`: there is none at all.
    ///
    /// # Errors
    /// If none of those that are there is whole, or the last whole one is of another plan.
    pub fn latest(&self) -> Result<Option<Checkpoint>, RecordError> {
        let mut first_error = None;
        for path in self.list()?.into_iter().rev() {
            match load(&path) {
                Ok(checkpoint) => return self.of_this_plan(&path, checkpoint).map(Some),
                Err(error) => {
                    tracing::warn!("{error}; trying the previous checkpoint");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    fn of_this_plan(&self, path: &Path, checkpoint: Checkpoint) -> Result<Checkpoint, RecordError> {
        if checkpoint.plan == self.plan {
            return self.of_this_machine(path, checkpoint);
        }
        let changes = changes(&checkpoint.fingerprint, &self.fingerprint);
        let what = match changes.as_str() {
            "" => "a setting that affects results was changed",
            changes => changes,
        };
        let reason = format!("it belongs to another plan: {what}; undo that, or start a new run");
        Err(RecordError::file(path, "resume from", reason))
    }

    /// Refuses to go on with other last bits.
    fn of_this_machine(
        &self,
        path: &Path,
        checkpoint: Checkpoint,
    ) -> Result<Checkpoint, RecordError> {
        match (&checkpoint.canary, &self.canary) {
            (Some(was), Some(is)) if was != is => {
                let reason = format!(
                    "last bits are computed differently here: the canary job gave {} where the run \
                     was, and gives {} here; resume it on a machine of the same kind",
                    was.0, is.0
                );
                Err(RecordError::file(path, "resume from", reason))
            }
            _ => Ok(checkpoint),
        }
    }

    fn path(&self, round: u32) -> PathBuf {
        self.place
            .folder()
            .join(format!("round-{round:08}.{EXTENSION}"))
    }

    /// The files, oldest first.
    fn list(&self) -> Result<Vec<PathBuf>, RecordError> {
        let failed = |e| RecordError::file(self.place.folder(), "list", e);
        let entries = match fs::read_dir(self.place.folder()) {
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

/// Reads a checkpoint. Its content is not trusted, and no more memory is requested than its first
/// line takes, before its digest is found right.
fn load(path: &Path) -> Result<Checkpoint, RecordError> {
    let failed = |reason: String| RecordError::file(path, "load", reason);
    let io = |error: std::io::Error| failed(error.to_string());
    let mut file = File::open(path).map_err(io)?;
    let mut head = Vec::new();
    let longest = (MAGIC.len() + 2 * blake3::OUT_LEN + 1) as u64;
    (&file).take(longest).read_to_end(&mut head).map_err(io)?;
    let digest = head.strip_prefix(MAGIC.as_bytes());
    let digest = digest.and_then(|rest| rest.strip_suffix(b"\n"));
    let digest = digest.ok_or_else(|| failed(not_one(&head)))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(io)?;
    if hasher.finalize().to_hex().as_bytes() != digest {
        return Err(failed("it is corrupt: its digest does not match".into()));
    }
    let mut body = Vec::new();
    file.seek(SeekFrom::Start(longest)).map_err(io)?;
    file.read_to_end(&mut body).map_err(io)?;
    rmp_serde::from_slice(&body).map_err(|error| failed(error.to_string()))
}

/// The problem with a file that begins like this.
fn not_one(head: &[u8]) -> String {
    let version = head.strip_prefix(NAME.as_bytes());
    let version = version.and_then(|rest| rest.split(|byte| *byte == b' ').next());
    let version = version.and_then(|text| str::from_utf8(text).ok()?.parse::<u64>().ok());
    match version {
        Some(version) if version > VERSION => format!(
            "it was written by a newer version: its format is {version}, and this version reads up \
             to {VERSION}"
        ),
        _ => "not a checkpoint file".into(),
    }
}

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// The longest value that is shown.
const SHOWN: usize = 40;

/// What differs between two fingerprints, key by key.
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

/// Identifies what decides a run's results; not on how many lanes, nor how often it is saved.
fn digest(plan: &FederationPlan) -> Digest {
    let mut plan = plan.clone();
    plan.lanes = 0;
    plan.clients
        .iter_mut()
        .for_each(|client| client.lane = None);
    plan.checkpoints = CheckpointPolicy::default();
    plan.watchdog_seconds = None;
    // Compared by itself: checkpoints of older programs have none.
    plan.canary = None;
    if let ClockMode::Wall { scale } = &mut plan.clock {
        *scale = 1.0;
    }
    // A plan is plain data: it can always be written.
    Digest::of(&rmp_serde::to_vec(&plan).unwrap_or_default())
}

#[cfg(test)]
mod tests;
