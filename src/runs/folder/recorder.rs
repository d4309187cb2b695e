//! Writes a run's rounds and its summary as they happen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use regatta_actors::journal::{json_lines, ledger};
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::ControlHandle;
use regatta_actors::protocol::control::ControlCommand;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::base::file_error::FileError;
use crate::base::files::write_atomically;
use crate::config::plan::Plan;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::summary::Summary;
use crate::runs::history::totals::RunTotals;

/// Why the run folder could not be written, if so: shared with who started the run.
#[derive(Debug, Clone, Default)]
pub struct WriteFailure(Arc<Mutex<Option<String>>>);

impl WriteFailure {
    /// The first failure.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, reason: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
    }
}

/// Keeps `rounds.jsonl`, each line synced when its round is over, and `summary.json`.
///
/// When the folder cannot be written any more, it stops the run and says why in [`WriteFailure`].
#[derive(Debug)]
pub struct Recorder {
    folder: RunFolder,
    plan: Plan,
    rounds: File,
    totals: RunTotals,
    started: Instant,
    control: ControlHandle,
    failure: WriteFailure,
}

impl Recorder {
    /// Opens the folder's files.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn open(folder: RunFolder, plan: &Plan, control: ControlHandle) -> io::Result<Self> {
        let rounds = append_to(&folder.path_of(Artifact::Rounds))?;
        Ok(Self {
            folder,
            plan: plan.clone(),
            rounds,
            totals: RunTotals::default(),
            started: Instant::now(),
            control,
            failure: WriteFailure::default(),
        })
    }

    /// The place for its error.
    #[must_use]
    pub fn failure(&self) -> WriteFailure {
        self.failure.clone()
    }

    /// Makes `rounds.jsonl` what it was after a round, and restarts the count from there. A round
    /// that it lacks, since the process was killed before it was written, is in the ledger.
    fn go_back(&mut self, after_round: u32) -> io::Result<()> {
        self.folder.check()?;
        let path = self.folder.path_of(Artifact::Rounds);
        let mut records = BTreeMap::new();
        for record in json_lines::read::<RoundRecord>(&path).map_err(io::Error::other)? {
            let record = record.map_err(io::Error::other)?;
            if record.round > after_round {
                break;
            }
            records.insert(record.round, record);
        }
        if records.len() < after_round as usize && !self.plan.telemetry.ledger {
            let path = path.display();
            tracing::warn!(
                "{path} is incomplete: the process was killed while writing, and there is no \
                 ledger to restore it from"
            );
        } else if records.len() < after_round as usize {
            for entry in
                ledger::read(&self.folder.path_of(Artifact::Ledger)).map_err(io::Error::other)?
            {
                if let Event::RoundFinished(record) = entry.map_err(io::Error::other)?.event
                    && record.round <= after_round
                {
                    records.entry(record.round).or_insert(record);
                }
            }
        }
        self.totals = RunTotals::default();
        let mut lines = Vec::new();
        for record in records.values() {
            self.totals.add(record, &self.plan.data.task.metric_set());
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        write_atomically(&path, &lines)?;
        self.rounds = append_to(&path)?;
        Ok(())
    }

    fn append(&mut self, record: &RoundRecord) -> io::Result<()> {
        if self.failure.get().is_some() {
            // What follows a line that was not written whole would make it damage in the middle.
            return Ok(());
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.rounds
            .write_all(&line)
            .and_then(|()| self.rounds.sync_data())
            .map_err(FileError::write(&self.folder.path_of(Artifact::Rounds)))?;
        Ok(())
    }

    fn summarise(&self, ending: Option<EndReason>, error: Option<String>) -> io::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        let summary = Summary::new(&self.plan, self.totals.clone(), ending, error, seconds);
        let mut text = serde_json::to_vec_pretty(&summary)?;
        text.push(b'\n');
        let path = self.folder.path_of(Artifact::Summary);
        self.folder.check()?;
        Ok(write_atomically(&path, &text)?)
    }
}

impl Observer for Recorder {
    fn on_event(&mut self, event: &Event) {
        let written = match event {
            Event::RunStarted { .. } => self.go_back(0),
            Event::RunResumed { after_round, .. } => self.go_back(*after_round),
            Event::RoundFinished(record) => {
                self.totals.add(record, &self.plan.data.task.metric_set());
                self.append(record)
            }
            Event::RunFinished { ending, error, .. } => self.summarise(*ending, error.clone()),
            _ => Ok(()),
        };
        if let Err(error) = written {
            tracing::error!("the run is stopped: {error}");
            self.failure.set(error.to_string());
            self.control.send(ControlCommand::StopNow);
        }
    }
}

fn append_to(path: &Path) -> Result<File, FileError> {
    let mut options = File::options();
    let file = options.append(true).create(true).open(path);
    file.map_err(FileError::write(path))
}
