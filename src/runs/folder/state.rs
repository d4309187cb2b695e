//! Whether a run is active, has ended, or was killed.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

use regatta_actors::journal::ledger::Entry;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::EndReason;

use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::{RunFolder, lock};

/// More than the ledger's last entry takes, if the run has ended.
const TAIL: u64 = 1 << 16;

/// Whether a run writes a file of this name before it can be resumed.
fn is_a_beginning(name: &OsStr) -> bool {
    let mut known = Artifact::BEFORE_A_CHECKPOINT.iter();
    // What a kill left half written has a name of `tempfile`'s.
    known.any(|known| name == known.name()) || name.as_encoded_bytes().starts_with(b".tmp")
}

/// The phase of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// All rounds are done.
    Complete,
    /// It was stopped, and can be resumed.
    Stopped,
    /// A process is at it.
    Running,
    /// Its process was killed; it can be resumed.
    Interrupted,
    /// It ended with this error.
    Failed(String),
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Failed(_) => "failed",
        })
    }
}

impl RunFolder {
    /// The phase of the run. For the holder of the folder's lock, it is not running.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn state(&self) -> io::Result<RunState> {
        if self.lock.is_none() && lock::is_taken(&self.path)? {
            return Ok(RunState::Running);
        }
        if !self.path_of(Artifact::Ledger).exists() {
            return self.summarised();
        }
        Ok(match self.last_event()? {
            Some(Event::RunFinished {
                error: Some(error), ..
            }) => RunState::Failed(error),
            Some(Event::RunFinished {
                ending: Some(EndReason::Complete),
                ..
            }) => RunState::Complete,
            Some(Event::RunFinished { .. }) => RunState::Stopped,
            _ => RunState::Interrupted,
        })
    }

    /// Whether anything was saved that the run can resume from.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        let is_checkpoint = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "checkpoint"))
        };
        let checkpoints = fs::read_dir(self.path_of(Artifact::Checkpoints));
        self.path_of(Artifact::Ledger).exists()
            || checkpoints.is_ok_and(|mut all| all.any(is_checkpoint))
    }

    /// Removes the remains of a run that cannot be resumed, so that it can start again. The caller
    /// holds the folder's lock.
    ///
    /// # Errors
    /// If there is something else in the folder, which then stays as it is; or what cannot be
    /// removed.
    pub fn clear(&self) -> io::Result<()> {
        let entries = fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| name != Artifact::Lock.name());
        if let Some(other) = names.iter().find(|name| !is_a_beginning(name)) {
            return Err(io::Error::other(format!(
                "{} holds nothing to resume from, and cannot be used for a new run because of {}; \
                 move that away",
                self.path.display(),
                other.display()
            )));
        }
        // The scenario last: without it, this would not be recognised as a run.
        names.sort_by_key(|name| name == Artifact::Scenario.name());
        for path in names.iter().map(|name| self.path.join(name)) {
            match path.symlink_metadata()?.is_dir() {
                true => fs::remove_dir_all(&path)?,
                false => fs::remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// The state of a run without a ledger.
    fn summarised(&self) -> io::Result<RunState> {
        let Some(summary) = self.read_summary()? else {
            return Ok(RunState::Interrupted);
        };
        Ok(match (summary.error, summary.ending) {
            (Some(error), _) => RunState::Failed(error),
            (None, Some(EndReason::Complete)) => RunState::Complete,
            (None, _) => RunState::Stopped,
        })
    }

    /// The last event of the ledger, if it is a short one.
    fn last_event(&self) -> io::Result<Option<Event>> {
        let mut file = File::open(self.path_of(Artifact::Ledger))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        // A power cut may leave zero bytes at the end.
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        let end = tail.iter().rposition(|byte| !blank(byte));
        let tail = &tail[..end.map_or(0, |end| end + 1)];
        let line = tail
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let entry: Option<Entry> = serde_json::from_slice(line).ok();
        Ok(entry.map(|entry| entry.event))
    }
}
