//! The ledger: each event of a run that any other run of its plan has too, one JSON object a line.
//!
//! It holds no wall time and nothing that depends on threads or on the number of lanes, so two
//! runs of a plan have the same ledger, byte for byte.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::control::{ControlCommand, Intervention};
use crate::event::Event;
use crate::run::Ending;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub sequence: u64,
    /// When it happened, in nanoseconds of virtual time.
    pub time: VirtualTime,
    /// What happened, [`Event::timeless`].
    #[serde(flatten)]
    pub event: Event,
}

/// Why something could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file of the run's record cannot be read or written.
    #[error("cannot {doing} {}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        doing: String,
        /// Why it could not be done.
        reason: String,
    },
    /// What happens differs from what the ledger has.
    #[error("entry {sequence} differs from the ledger.\n  ledger: {expected}\n  now:    {found}")]
    Diverged {
        /// The entry's number.
        sequence: u64,
        /// The ledger's line.
        expected: String,
        /// What it should be now.
        found: String,
    },
    /// The ledger ends here, in the middle of its run; up to here all is the same.
    #[error("the ledger ends after entry {0}")]
    LedgerEnds(u64),
}

impl RecordError {
    pub(crate) fn file(path: &Path, doing: &str, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            doing: doing.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Where a run's entries go.
pub(crate) trait Sink {
    /// Takes the next entry's line.
    fn record(&mut self, sequence: u64, line: &str) -> Result<(), RecordError>;

    /// Makes sure that others can read what was taken.
    fn flush(&mut self) -> Result<(), RecordError> {
        Ok(())
    }

    /// Makes sure that what was taken is on the disk.
    fn sync(&mut self) -> Result<(), RecordError> {
        Ok(())
    }
}

/// The line of an entry, without its end.
pub(crate) fn line(entry: &Entry) -> Result<String, RecordError> {
    serde_json::to_string(entry)
        .map_err(|error| RecordError::file(Path::new("the ledger"), "write to", error))
}

/// Writes a ledger.
#[derive(Debug)]
pub(crate) struct LedgerWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LedgerWriter {
    /// Begins a ledger, in a file that is not there yet.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create_new(path).map_err(|e| RecordError::file(path, "create", e))?;
        Ok(Self::new(path, file))
    }

    /// Goes on with a ledger after its first `entries`; what follows them is cut off. One that is
    /// not there is begun if it had none.
    pub fn resume(path: &Path, entries: u64) -> Result<Self, RecordError> {
        if entries == 0 && !path.exists() {
            return Self::create(path);
        }
        let length = length_of(path, entries)?;
        let failed = |e| RecordError::file(path, "go on with", e);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(length).map_err(failed)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(failed)?;
        Ok(Self::new(path, file))
    }

    fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        }
    }
}

/// Bytes that a ledger's first `entries` take.
fn length_of(path: &Path, entries: u64) -> Result<u64, RecordError> {
    let mut length = 0;
    let mut lines = RawLines::open(path)?;
    for found in 0..entries {
        let Some(line) = lines.next().transpose()? else {
            let reason =
                format!("it has {found} entries, and the checkpoint comes after {entries}");
            return Err(RecordError::file(path, "go on with", reason));
        };
        length += line.len() as u64 + 1;
    }
    Ok(length)
}

impl Sink for LedgerWriter {
    fn record(&mut self, _: u64, line: &str) -> Result<(), RecordError> {
        let written = self.file.write_all(line.as_bytes());
        let written = written.and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|e| RecordError::file(&self.path, "write to", e))
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        let flushed = self.file.flush();
        flushed.map_err(|e| RecordError::file(&self.path, "write to", e))
    }

    fn sync(&mut self) -> Result<(), RecordError> {
        self.flush()?;
        let synced = self.file.get_ref().sync_data();
        synced.map_err(|e| RecordError::file(&self.path, "write to", e))
    }
}

/// Compares a run with a ledger.
#[derive(Debug)]
pub(crate) struct LedgerCheck {
    lines: RawLines,
    agreed: Arc<AtomicU64>,
}

impl LedgerCheck {
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Ok(Self {
            lines: RawLines::open(path)?,
            agreed: Arc::default(),
        })
    }

    /// Where the entries that are the same are counted.
    pub fn agreed(&self) -> Arc<AtomicU64> {
        self.agreed.clone()
    }
}

impl Sink for LedgerCheck {
    fn record(&mut self, sequence: u64, found: &str) -> Result<(), RecordError> {
        match self.lines.next().transpose()? {
            Some(expected) if expected == found => {
                self.agreed.store(sequence, Ordering::Release);
                Ok(())
            }
            Some(expected) if !ended_at_once(&expected) => Err(RecordError::Diverged {
                sequence,
                expected,
                found: found.to_owned(),
            }),
            _ => Err(RecordError::LedgerEnds(sequence - 1)),
        }
    }
}

/// Whether this is the end of a run that was stopped in the middle of something.
fn ended_at_once(line: &str) -> bool {
    let entry: Result<Entry, _> = serde_json::from_str(line);
    let at_once = Some(Ending::StoppedAtOnce);
    matches!(entry, Ok(Entry { event: Event::RunFinished { ending, .. }, .. }) if ending == at_once)
}

/// The complete lines of a file; one that a crash cut off in its middle does not count.
#[derive(Debug)]
struct RawLines {
    path: PathBuf,
    reader: BufReader<File>,
}

impl RawLines {
    fn open(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(|e| RecordError::file(path, "read", e))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(file),
        })
    }
}

impl Iterator for RawLines {
    type Item = Result<String, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(_) if line.pop() == Some('\n') => Some(Ok(line)),
            Ok(_) => None,
            Err(e) => Some(Err(RecordError::file(&self.path, "read", e))),
        }
    }
}

/// The entries of a ledger, in order.
///
/// # Errors
/// When the file cannot be read, at once; when a line is no entry, as an item that says which.
pub fn read(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Entry, RecordError>> + use<>, RecordError> {
    let owned = path.to_owned();
    let parse = move |(i, line): (usize, Result<String, RecordError>)| {
        serde_json::from_str(&line?)
            .map_err(|e| RecordError::file(&owned, &format!("understand line {} of", i + 1), e))
    };
    Ok(RawLines::open(path)?.enumerate().map(parse))
}

/// How many entries a ledger has.
pub(crate) fn entries(path: &Path) -> Result<u64, RecordError> {
    let mut count = 0;
    for line in RawLines::open(path)? {
        line?;
        count += 1;
    }
    Ok(count)
}

/// The commands from outside that a ledger has, in order; none if there is no ledger.
pub(crate) fn interventions(path: &Path) -> Result<Vec<Intervention>, RecordError> {
    let mut found = Vec::new();
    if !path.exists() {
        return Ok(found);
    }
    for line in RawLines::open(path)? {
        let line = line?;
        // Most lines are something else; reading them in full would cost more than it gives.
        if line.contains("\"event\":\"intervention\"")
            && let Ok(Entry {
                event: Event::Intervention(intervention),
                ..
            }) = serde_json::from_str(&line)
        {
            found.push(intervention);
        }
    }
    Ok(found)
}

/// Without the commands to stop: a run that is resumed goes on.
pub(crate) fn without_stops(mut interventions: Vec<Intervention>) -> Vec<Intervention> {
    interventions.retain(|i| i.command != ControlCommand::FinishRound);
    interventions
}
