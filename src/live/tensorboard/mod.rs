//! TensorBoard's event files: a run's scalars by round.
//!
//! Tags: `train_loss/mean` and `train_loss/CLIENT`, `eval/SCORE`, `exactness_error`, `bytes/up`,
//! `bytes/down`, `virtual_seconds`. A step is a round. Scores of the model before training have the
//! same tags in the folder `base`, so that TensorBoard draws both in one chart.

pub(crate) mod event;
pub(crate) mod file;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::round_record::{ClientRecord, RoundRecord};

use crate::live::tensorboard::file::EventFile;
use crate::tasks::metrics::set::base_name;

/// The folder of the model before training.
const BASE: &str = "base";

/// Writes event files; if it cannot, it says so once, and the run continues without.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    most_clients: usize,
    with_clients: bool,
    first_step: i64,
    file: Option<EventFile>,
    /// Of the model before training, once it was scored.
    base: Option<EventFile>,
}

impl TensorBoard {
    /// Writes into a folder. Fleets of more than `most_clients` have no curve for each client.
    #[must_use]
    pub fn new(folder: PathBuf, most_clients: u32) -> Self {
        Self {
            folder,
            most_clients: most_clients as usize,
            with_clients: false,
            first_step: 1,
            file: None,
            base: None,
        }
    }

    /// Begins a new file after a round. It says that what other files have of later rounds is
    /// void, which TensorBoard then leaves out.
    fn begin(&mut self, after_round: u32, clients: usize) -> io::Result<()> {
        self.with_clients = clients <= self.most_clients;
        self.first_step = i64::from(after_round) + 1;
        self.file = Some(started(&self.folder, self.first_step)?);
        Ok(())
    }

    fn write(&mut self, record: &RoundRecord) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let step = i64::from(record.round);
        file.scalars(step, &scalars(record, self.with_clients))?;
        let base = base_scalars(record);
        if base.is_empty() {
            return Ok(());
        }
        if self.base.is_none() {
            self.base = Some(started(&self.folder.join(BASE), self.first_step)?);
        }
        match &mut self.base {
            Some(file) => file.scalars(step, &base),
            None => Ok(()),
        }
    }
}

impl Observer for TensorBoard {
    fn on_event(&mut self, event: &Event) {
        let written = match event {
            Event::RunStarted { clients, .. } => self.begin(0, clients.len()),
            Event::RunResumed {
                after_round,
                clients,
                ..
            } => self.begin(*after_round, clients.len()),
            Event::RoundFinished(record) => self.write(record),
            _ => Ok(()),
        };
        if let Err(error) = written {
            let folder = self.folder.display();
            tracing::warn!("TensorBoard output to {folder} stopped: {error}");
            self.file = None;
        }
    }
}

/// A file in a folder, of a run that starts at this step.
fn started(folder: &Path, step: i64) -> io::Result<EventFile> {
    let mut file = EventFile::create(folder)?;
    file.start(step)?;
    Ok(file)
}

/// The tags and values of the model before training.
fn base_scalars(record: &RoundRecord) -> Vec<(String, f64)> {
    let scores = record.eval.iter().flatten();
    let base = scores.filter_map(|(name, value)| Some((base_name(name)?, *value)));
    base.map(|(name, value)| (format!("eval/{name}"), value))
        .collect()
}

/// A round's tags and values.
fn scalars(record: &RoundRecord, with_clients: bool) -> Vec<(String, f64)> {
    let mut scalars = Vec::new();
    let mut add = |tag: String, value: Option<f64>| scalars.extend(value.map(|value| (tag, value)));
    add("train_loss/mean".to_owned(), record.train_loss);
    for client in record.clients.iter().filter(|_| with_clients) {
        add(format!("train_loss/{}", client.name), client.loss);
    }
    let scores = record.eval.iter().flatten();
    for (name, value) in scores.filter(|(name, _)| base_name(name).is_none()) {
        add(format!("eval/{name}"), Some(*value));
    }
    add("exactness_error".to_owned(), record.exactness_error);
    let sum = |bytes: fn(&ClientRecord) -> u64| {
        let bytes: u64 = record.clients.iter().map(bytes).sum();
        Some(bytes as f64)
    };
    add("bytes/up".to_owned(), sum(|client| client.bytes_up));
    add("bytes/down".to_owned(), sum(|client| client.bytes_down));
    add("virtual_seconds".to_owned(), Some(record.virtual_seconds));
    scalars
}
