//! Control commands, kept until the run no longer needs them: a confirmed command is not
//! lost, however often the run is killed and resumed.
//!
//! A command is written down here, with the round after which it takes effect, before it is
//! confirmed. The ledger has it only once it took effect, and is cut back to the last checkpoint
//! when the run is resumed; this file is never cut. Commands take effect in the order of their
//! rounds, those of one round in the order in which they came.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::checkpoint::write_synced;
use crate::journal::json_lines;
use crate::journal::ledger;
use crate::journal::place::Place;
use crate::protocol::control::{ControlCommand, Intervention};
use crate::protocol::outcome::RecordError;

/// The file, beside the checkpoints.
const NAME: &str = "interventions.jsonl";

/// Writes commands down.
#[derive(Debug)]
pub(crate) struct InterventionLog {
    place: Arc<Place>,
    path: PathBuf,
    /// From when there is something in it.
    file: Option<File>,
    /// Bytes of whole lines.
    length: u64,
}

impl InterventionLog {
    /// The log in a folder, with what is `known` of a run that is resumed. What it had before is
    /// replaced, at once or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(place: Arc<Place>, known: &[Intervention]) -> Result<Self, RecordError> {
        let path = path(&place);
        let mut log = Self {
            place,
            file: None,
            length: 0,
            path,
        };
        if !known.is_empty() || log.path.exists() {
            let replaced = log.replace(known);
            replaced.map_err(|e| RecordError::file(&log.path, "write", e))?;
        }
        Ok(log)
    }

    /// Writes a command down; when this returns, it is on the disk. A command to stop is not kept:
    /// a resumed run continues.
    ///
    /// # Errors
    /// If it cannot be written. The log is then as it was.
    pub fn keep(&mut self, intervention: &Intervention) -> Result<(), RecordError> {
        if intervention.command == ControlCommand::FinishRound {
            return Ok(());
        }
        self.append(intervention).map_err(|error| {
            if let Some(file) = &self.file {
                // If that fails too, it is repeated before the next one is written.
                let _ = file.set_len(self.length);
            }
            RecordError::file(&self.path, "write", error)
        })
    }

    fn append(&mut self, intervention: &Intervention) -> io::Result<()> {
        self.place.make()?;
        let line = encode(&[*intervention])?;
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = File::options().append(true).create(true).open(&self.path)?;
                self.place.sync()?;
                none.insert(file)
            }
        };
        file.set_len(self.length)?;
        file.write_all(&line)?;
        file.sync_data()?;
        self.length += line.len() as u64;
        Ok(())
    }

    fn replace(&mut self, known: &[Intervention]) -> io::Result<()> {
        self.place.make()?;
        let (bytes, partial) = (encode(known)?, self.path.with_extension("partial"));
        write_synced(&partial, &[&bytes])?;
        fs::rename(&partial, &self.path)?;
        self.place.sync()?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        self.length = bytes.len() as u64;
        Ok(())
    }
}

fn path(place: &Place) -> PathBuf {
    place.folder().join(NAME)
}

fn encode(interventions: &[Intervention]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for intervention in interventions {
        serde_json::to_writer(&mut bytes, intervention)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// All commands that a run that is resumed has to follow, in their order: those of its log, and
/// those that only its ledger has, since an older version wrote it or there is no log.
///
/// # Errors
/// If one of the files cannot be read.
pub(crate) fn known(
    place: Option<&Place>,
    ledger: Option<&Path>,
) -> Result<Vec<Intervention>, RecordError> {
    let mut known = Vec::new();
    if let Some(path) = place.map(path).filter(|path| path.exists()) {
        for intervention in json_lines::read(&path)? {
            known.push(intervention?);
        }
    }
    if let Some(path) = ledger {
        let mut unmatched = known.clone();
        for intervention in ledger::interventions(path)? {
            match unmatched.iter().position(|kept| *kept == intervention) {
                Some(at) => {
                    unmatched.remove(at);
                }
                None => known.push(intervention),
            }
        }
    }
    known.retain(|intervention| intervention.command != ControlCommand::FinishRound);
    known.sort_by_key(|intervention| intervention.after_round);
    Ok(known)
}

#[cfg(test)]
mod tests;
