//! Whether a run goes on, has ended, or was killed.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};

use regatta_actors::event::Event;
use regatta_actors::ledger::Entry;
use regatta_actors::run::Ending;

use super::{RunFolder, lock};

/// More than the ledger's last entry takes, if the run has ended.
const TAIL: u64 = 1 << 16;

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// All rounds are done.
    Complete,
    /// It was told to stop, and can go on.
    Stopped,
    /// A process is at it.
    Running,
    /// Its process was killed; it can go on.
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
    /// Where the run is.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn state(&self) -> io::Result<RunState> {
        if self.is_locked()? {
            return Ok(RunState::Running);
        }
        if !self.ledger().exists() {
            return self.summarised();
        }
        Ok(match self.last_event()? {
            Some(Event::RunFinished {
                error: Some(error), ..
            }) => RunState::Failed(error),
            Some(Event::RunFinished {
                ending: Some(Ending::Complete),
                ..
            }) => RunState::Complete,
            Some(Event::RunFinished { .. }) => RunState::Stopped,
            _ => RunState::Interrupted,
        })
    }

    /// Whether anything was saved that the run can go on from.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.ledger().exists() || self.path.join("checkpoints").is_dir()
    }

    /// Whether a process writes here.
    fn is_locked(&self) -> io::Result<bool> {
        let lock = match File::open(self.path.join(lock::NAME)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let taken = lock.try_lock_shared();
        Ok(matches!(taken, Err(TryLockError::WouldBlock)))
    }

    /// The state of a run without a ledger.
    fn summarised(&self) -> io::Result<RunState> {
        let Some(summary) = self.read_summary()? else {
            return Ok(RunState::Interrupted);
        };
        Ok(match (summary.error, summary.ending) {
            (Some(error), _) => RunState::Failed(error),
            (None, Some(Ending::Complete)) => RunState::Complete,
            (None, _) => RunState::Stopped,
        })
    }

    /// The last event of the ledger, if it is a short one.
    fn last_event(&self) -> io::Result<Option<Event>> {
        let mut file = File::open(self.ledger())?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        // A power cut may leave what is nothing behind it.
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
