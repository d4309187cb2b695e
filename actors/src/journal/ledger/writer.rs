//! Writes a ledger, and knows what it has written.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Sink;
use crate::ids::Digest;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::place;
use crate::protocol::command::LedgerMark;
use crate::protocol::outcome::RecordError;

/// Writes a ledger, and keeps the digest of what it has.
#[derive(Debug)]
pub(crate) struct LedgerWriter {
    path: PathBuf,
    file: BufWriter<File>,
    entries: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl LedgerWriter {
    /// Begins a ledger, in a file that is not there yet.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create_new(path).map_err(|e| RecordError::file(path, "create", e))?;
        Ok(Self::new(path, file))
    }

    /// Continues a ledger from where a checkpoint left it, once the rest is [cut off](Self::cut).
    /// A missing file is created if it was empty.
    pub fn resume(path: &Path, after: Option<&Checkpoint>) -> Result<Self, RecordError> {
        let entries = after.map_or(0, |checkpoint| checkpoint.recorded);
        if entries == 0 && !path.exists() {
            return Self::create(path);
        }
        let failed = |e| RecordError::file(path, "continue", e);
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut writer = Self::new(path, file.map_err(failed)?);
        writer.entries = entries;
        match after.and_then(|checkpoint| checkpoint.ledger.as_ref()) {
            Some(mark) => writer.pass_bytes(mark)?,
            None => writer.pass_entries(entries)?,
        }
        Ok(writer)
    }

    /// Cuts off what follows the checkpoint.
    pub fn cut(mut self) -> Result<Self, RecordError> {
        let (file, length) = (self.file.get_mut(), self.bytes);
        let cut = file.set_len(length);
        let cut = cut.and_then(|()| file.seek(SeekFrom::Start(length)));
        cut.map_err(|e| RecordError::file(&self.path, "continue", e))?;
        Ok(self)
    }

    fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            entries: 0,
            bytes: 0,
            hasher: blake3::Hasher::new(),
        }
    }

    /// Takes in what a ledger had at a checkpoint, which must be the same still.
    fn pass_bytes(&mut self, mark: &LedgerMark) -> Result<(), RecordError> {
        let failed = |reason: String| RecordError::file(&self.path, "continue", reason);
        let before = self.file.get_ref().take(mark.bytes);
        self.hasher
            .update_reader(before)
            .map_err(|e| failed(e.to_string()))?;
        let (found, wanted) = (self.hasher.count(), mark.bytes);
        if found < wanted {
            let reason = format!("it has {found} bytes, but the checkpoint was taken at {wanted}");
            return Err(failed(reason));
        }
        if digest(&self.hasher) != mark.digest {
            return Err(failed(format!(
                "its first {wanted} bytes have changed since the checkpoint was written; restore \
                 the run's own ledger, or start a new run"
            )));
        }
        self.bytes = wanted;
        Ok(())
    }

    /// Reads that many entries.
    fn pass_entries(&mut self, entries: u64) -> Result<(), RecordError> {
        let mut reader = BufReader::new(self.file.get_ref());
        let failed = |reason: String| RecordError::file(&self.path, "continue", reason);
        let mut found = 0;
        while found < entries {
            let chunk = reader.fill_buf().map_err(|e| failed(e.to_string()))?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(chunk.len(), |end| end + 1);
            if length == 0 {
                let reason =
                    format!("it has {found} entries, but the checkpoint was taken at {entries}");
                return Err(failed(reason));
            }
            self.hasher.update(&chunk[..length]);
            self.bytes += length as u64;
            found += u64::from(end.is_some());
            reader.consume(length);
        }
        Ok(())
    }
}

fn digest(hasher: &blake3::Hasher) -> Digest {
    Digest(hasher.finalize().to_hex().to_string())
}

impl Sink for LedgerWriter {
    fn record(&mut self, sequence: u64, line: &str) -> Result<(), RecordError> {
        for part in [line.as_bytes(), b"\n"] {
            let written = self.file.write_all(part);
            written.map_err(|e| RecordError::file(&self.path, "write to", e))?;
            self.hasher.update(part);
            self.bytes += part.len() as u64;
        }
        self.entries = sequence;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        let flushed = self.file.flush();
        flushed.map_err(|e| RecordError::file(&self.path, "write to", e))
    }

    fn sync(&mut self) -> Result<(), RecordError> {
        self.flush()?;
        let synced = place::check_file(&self.path, self.file.get_ref());
        let synced = synced.and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(|e| RecordError::file(&self.path, "write to", e))
    }

    fn mark(&self, entries: u64) -> Option<LedgerMark> {
        // What is done again after a crash of the server is earlier than the end of the ledger.
        (self.entries == entries).then(|| LedgerMark {
            bytes: self.bytes,
            digest: digest(&self.hasher),
        })
    }
}
