//! The run folder: the files of a run, which [`artifact::Artifact`] names.
//!
//! | file | holds |
//! |---|---|
//! | [`artifact`] | what lies in the folder, and under which name |
//! | `lock` | one process at a time writes there |
//! | `leftovers` | what a killed process was just writing |
//! | [`state`] | whether the run is active, has ended, or was killed |
//! | [`recorder`] | rounds and summary, written as they happen |
//! | [`hosts`] | who trained for it on other machines |
//! | [`summary`] | how it ended and what came out |
//! | [`overview`] | a run in a line of a list |

pub mod artifact;
pub mod hosts;
pub(crate) mod leftovers;
pub(crate) mod lock;
pub mod overview;
pub mod recorder;
pub mod state;
pub mod summary;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use regatta_actors::journal::json_lines;
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::runtime::RunFiles;
use serde::de::DeserializeOwned;

use crate::base::file_error::FileError;
use crate::base::files::{make_folder, write_atomically};
use crate::base::time;
use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::lock::FolderLock;
use crate::runs::folder::summary::Summary;
use crate::runs::history::hosts::HostHistory;

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Keeps other processes from writing here, until the last clone is dropped.
    lock: Option<Arc<FolderLock>>,
}

impl RunFolder {
    /// Makes the plan's folder, takes its lock and writes its scenario into it.
    ///
    /// # Errors
    /// If `--out` names a file or a folder with something in it, or nothing can be written
    /// there; as a problem of the setting `out`. A folder that was there is left as it was.
    pub fn create(plan: &Plan) -> Result<Self, Problems> {
        let made = match &plan.out {
            Some(path) => claim(path),
            None => make_new(
                Path::new("runs"),
                &plan.name,
                &time::stamp(SystemTime::now()),
            )
            .and_then(|path| Self::at(&path).locked().map_err(|error| error.to_string())),
        };
        let scenario = format!(
            "# The settings of the run {:?}, complete. `regatta run` of this file repeats \
             it.\n\n{}",
            plan.name,
            plan.to_toml()
        );
        made.and_then(|folder| {
            write_atomically(&folder.path_of(Artifact::Scenario), scenario.as_bytes())
                .map_err(|error| error.to_string())?;
            Ok(folder)
        })
        .map_err(|wrong| {
            let mut problems = plan.problems();
            problems.report("out", wrong, "name a folder that is new or empty");
            problems
        })
    }

    /// The folder of an existing run, named by the user.
    ///
    /// # Errors
    /// If there is no scenario in it.
    pub fn open(path: &Path) -> Result<Self, Problems> {
        Self::find(path).map_err(Problems::with_input)
    }

    /// The folder of an existing run.
    ///
    /// # Errors
    /// If there is no scenario in it.
    pub fn find(path: &Path) -> io::Result<Self> {
        let folder = Self::at(path);
        match folder.path_of(Artifact::Scenario).metadata() {
            Ok(_) => Ok(folder),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!(
                    "{} holds no run: its scenario.toml: {error}",
                    path.display()
                ),
            )),
        }
    }

    /// A folder that is there, whatever is in it.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            lock: None,
        }
    }

    /// The same, with no other process writing into it until the last clone is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process does; or why nothing can be written
    /// there.
    pub fn locked(mut self) -> io::Result<Self> {
        if self.lock.is_none() {
            let lock = FolderLock::take(&self.path)?;
            if lock.is_exclusive() {
                leftovers::remove(&self.path);
            }
            self.lock = Some(Arc::new(lock));
        }
        Ok(self)
    }

    /// Standard input for a process that is to write here too: `regatta run` or `resume` of this
    /// folder, which then holds the lock as well. Without a lock it is empty.
    ///
    /// # Errors
    /// If no further file can be opened.
    pub fn hand_down(&self) -> io::Result<Stdio> {
        match &self.lock {
            Some(lock) => lock.hand_down(),
            None => Ok(Stdio::null()),
        }
    }

    /// Checks that what the path names is still the folder whose lock this has; without a lock
    /// there is nothing to check. To be done before anything is written there by its path.
    ///
    /// # Errors
    /// If the folder was deleted, moved or replaced, or its lock file was.
    pub fn check(&self) -> io::Result<()> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.check())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of what it has under that name, or will have.
    #[must_use]
    pub fn path_of(&self, artifact: Artifact) -> PathBuf {
        self.path.join(artifact.name())
    }

    /// The record of a run, from which it is resumed.
    #[must_use]
    pub fn files(&self, plan: &Plan) -> RunFiles {
        RunFiles {
            ledger: plan
                .telemetry
                .ledger
                .then(|| self.path_of(Artifact::Ledger)),
            checkpoints: Some(self.path_of(Artifact::Checkpoints)),
        }
    }

    /// The finished rounds, from `rounds.jsonl`; a last line that is cut off does not count.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or a line of it is not a round.
    pub fn read_rounds(&self) -> io::Result<Vec<RoundRecord>> {
        self.read_lines()
    }

    /// The finished rounds, or as much of each as is asked for.
    fn read_lines<T: DeserializeOwned>(&self) -> io::Result<Vec<T>> {
        let path = self.path_of(Artifact::Rounds);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let lines = json_lines::read(&path).map_err(io::Error::other)?;
        lines.map(|line| line.map_err(io::Error::other)).collect()
    }

    /// The summary, if the run has ended once.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn read_summary(&self) -> io::Result<Option<Summary>> {
        self.read_json(Artifact::Summary)
    }

    /// The hosts that trained for the run; none in a run on this machine alone.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn read_hosts(&self) -> io::Result<HostHistory> {
        Ok(self.read_json(Artifact::Hosts)?.unwrap_or_default())
    }

    fn read_json<T: DeserializeOwned>(&self, artifact: Artifact) -> io::Result<Option<T>> {
        let path = self.path_of(artifact);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| FileError::content(&path, error.to_string()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::read(&path)(error).into()),
        }
    }
}

/// Takes a folder that the user named, with its lock: a new one, or one with nothing in it.
fn claim(path: &Path) -> Result<RunFolder, String> {
    // First, so that nothing is put into a folder of something else.
    require_unused(path)?;
    fs::create_dir_all(path).map_err(|error| format!("cannot make it: {error}"))?;
    let folder = RunFolder::at(path).locked();
    let folder = folder.map_err(|error| error.to_string())?;
    // Another process may have come first, and be gone again.
    require_unused(path)?;
    Ok(folder)
}

/// Requires that a folder is not there, or has nothing in it.
fn require_unused(path: &Path) -> Result<(), String> {
    // A run that ended before it had begun leaves its lock, and what it was just writing.
    let is_nothing = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|e| e.file_name() == Artifact::Lock.name() || leftovers::is_one(&e))
    };
    match fs::read_dir(path).map(|mut entries| entries.all(is_nothing)) {
        Ok(true) => Ok(()),
        Ok(false) if lock::is_taken(path).unwrap_or(false) => {
            Err(format!("another process is using it{}", lock::holder(path)))
        }
        Ok(false) if path.join(Artifact::Scenario.name()).exists() => {
            Err("a run's results are in it already".to_owned())
        }
        Ok(false) => Err("it holds files of something else".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes `<parent>/<name>-<time>`, with a number appended if that is taken.
fn make_new(parent: &Path, name: &str, time: &str) -> Result<PathBuf, String> {
    make_folder(parent).map_err(|error| error.to_string())?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let path = parent.join(format!("{name}-{time}{suffix}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(FileError::make(&path)(error).to_string()),
        }
    }
}
