//! The ledger: each event of a run that any other run of its plan has too, one JSON object a line.
//!
//! It holds no wall time and nothing that depends on threads or on the number of lanes, so two
//! runs of a plan have the same ledger, byte for byte.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::journal::json_lines::{self, JsonLines};
use crate::protocol::command::LedgerMark;
use crate::protocol::control::Intervention;
use crate::protocol::event::Event;
use crate::protocol::outcome::{EndReason, RecordError};
use crate::workload::update::Measures;

pub(crate) mod writer;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub sequence: u64,
    /// When it happened, in nanoseconds of virtual time.
    pub time: VirtualTime,
    /// What happened, [`Event::without_wall_time`].
    #[serde(flatten)]
    pub event: Event,
}

/// The destination of a run's entries.
pub(crate) trait Sink {
    /// Takes the next entry's line.
    fn record(&mut self, sequence: u64, line: &str) -> Result<(), RecordError>;

    /// Makes sure that others can read what was taken.
    fn flush(&mut self) -> Result<(), RecordError> {
        Ok(())
    }

    /// Makes sure that what was taken is on the disk, where others look for it.
    fn sync(&mut self) -> Result<(), RecordError> {
        Ok(())
    }

    /// The state of a file after that many entries; `None`: there is no file, or it has more.
    fn mark(&self, _entries: u64) -> Option<LedgerMark> {
        None
    }
}

/// The line of an entry, without its end.
pub(crate) fn line(entry: &Entry) -> Result<String, RecordError> {
    serde_json::to_string(entry)
        .map_err(|error| RecordError::file(Path::new("the ledger"), "write to", error))
}

/// Compares a run with a ledger.
#[derive(Debug)]
pub(crate) struct LedgerCheck {
    lines: JsonLines,
    agreed: Arc<AtomicU64>,
}

impl LedgerCheck {
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Ok(Self {
            lines: JsonLines::open(path)?,
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
        let compare = |line: &[u8]| {
            if line == found.as_bytes() {
                return Ok::<_, serde_json::Error>(None);
            }
            let entry: Entry = serde_json::from_slice(line)?;
            Ok(match says_the_same(&entry, found)? {
                true => None,
                false => Some((String::from_utf8_lossy(line).into_owned(), entry)),
            })
        };
        match self.lines.next_with(compare).transpose()? {
            Some(None) => {
                self.agreed.store(sequence, Ordering::Release);
                Ok(())
            }
            Some(Some((expected, entry))) if !ended_at_once(&entry) => Err(RecordError::Diverged {
                sequence,
                expected,
                found: found.to_owned(),
            }),
            _ => Err(RecordError::LedgerEnds(sequence - 1)),
        }
    }
}

/// Whether a recorded entry says what a run's line does. Earlier versions had other names for some
/// events, and measured less of an aggregation: what they did not measure is not compared.
fn says_the_same(recorded: &Entry, found: &str) -> Result<bool, serde_json::Error> {
    let text = serde_json::to_string(recorded)?;
    if text == found {
        return Ok(true);
    }
    let mut now: Entry = serde_json::from_str(found)?;
    let were_measured = measures_of(&recorded.event).is_some_and(|measures| !measures.is_empty());
    match &mut now.event {
        _ if were_measured => return Ok(false),
        Event::Aggregated { aggregation, .. } => aggregation.measures.clear(),
        Event::RoundFinished(record) => record.measures.clear(),
        _ => return Ok(false),
    }
    Ok(serde_json::to_string(&now)? == text)
}

/// What an event has of an aggregation's measures.
fn measures_of(event: &Event) -> Option<&Measures> {
    match event {
        Event::Aggregated { aggregation, .. } => Some(&aggregation.measures),
        Event::RoundFinished(record) => Some(&record.measures),
        _ => None,
    }
}

/// Whether this is the end of a run that was stopped in the middle of something.
fn ended_at_once(entry: &Entry) -> bool {
    let at_once = Some(EndReason::StoppedAtOnce);
    matches!(entry.event, Event::RunFinished { ending, .. } if ending == at_once)
}

/// The entries of a ledger, in order. One that a crash cut off in its middle does not count.
///
/// # Errors
/// If the file cannot be read, at once; when a line is not an entry, or not the one that follows,
/// as an item that says which.
pub fn read(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Entry, RecordError>> + use<>, RecordError> {
    let mut lines = JsonLines::open(path)?;
    let mut sequence = 0;
    Ok(std::iter::from_fn(move || {
        sequence += 1;
        let entry = lines.next_with(|line| serde_json::from_slice::<Entry>(line))?;
        Some(entry.and_then(|entry| match entry.sequence == sequence {
            true => Ok(entry),
            false => Err(lines.wrong(format!(
                "it is entry {} but should be entry {sequence}: lines are missing or duplicated",
                entry.sequence
            ))),
        }))
    }))
}

/// The number of entries in a ledger.
pub(crate) fn entries(path: &Path) -> Result<u64, RecordError> {
    let mut lines = json_lines::read::<IgnoredAny>(path)?;
    lines.try_fold(0, |count, line| line.map(|_| count + 1))
}

/// The control commands that a ledger has, in order; none if there is no ledger.
pub(crate) fn interventions(path: &Path) -> Result<Vec<Intervention>, RecordError> {
    let mut found = Vec::new();
    if !path.exists() {
        return Ok(found);
    }
    let mut lines = JsonLines::open(path)?;
    while let Some(line) = lines.next_with(intervention) {
        found.extend(line?);
    }
    Ok(found)
}

/// The command from outside in an entry's line, if it is one.
fn intervention(line: &[u8]) -> Result<Option<Intervention>, serde_json::Error> {
    const MARK: &[u8] = b"\"event\":\"intervention\"";
    // Most lines are something else; reading them in full would cost more than it gives.
    if !line.windows(MARK.len()).any(|part| part == MARK) {
        return serde_json::from_slice::<IgnoredAny>(line).map(|_| None);
    }
    let entry: Entry = serde_json::from_slice(line)?;
    Ok(match entry.event {
        Event::Intervention(intervention) => Some(intervention),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a check says of a line that a run gives where a ledger has `line`.
    fn checked(line: &str, found: &str) -> Result<(), RecordError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, format!("{line}\n")).unwrap();
        LedgerCheck::open(&path).unwrap().record(1, found)
    }

    #[test]
    fn a_line_with_an_earlier_name_of_an_event_agrees_and_another_value_does_not() {
        let injected = |event: &str, client: u32| {
            format!(
                "{{\"sequence\":1,\"time\":0,\"event\":\"{event}\",\"round\":2,\
                 \"client\":{client},\"fault\":\"drop\",\"virtual_seconds\":0.0}}"
            )
        };
        let now = injected("fault_injected", 3);
        assert_eq!(checked(&now, &now), Ok(()));
        assert_eq!(checked(&injected("fault_struck", 3), &now), Ok(()));
        assert!(diverged(checked(&injected("fault_struck", 4), &now)));
    }

    fn diverged(checked: Result<(), RecordError>) -> bool {
        matches!(checked, Err(RecordError::Diverged { sequence: 1, .. }))
    }

    #[test]
    fn measures_that_an_earlier_version_did_not_record_are_not_compared_and_others_are() {
        fn finished(round: u32, measures: &str) -> String {
            format!(
                "{{\"sequence\":1,\"time\":0,\"event\":\"round_finished\",\"round\":{round},\
                 \"train_loss\":null,\"eval\":null,\"exactness_error\":null,{measures}\
                 \"virtual_seconds\":0.0,\"state_digest\":\"ab\",\"clients\":[]}}"
            )
        }
        fn aggregated(round: u32, measures: &str) -> String {
            format!(
                "{{\"sequence\":1,\"time\":0,\"event\":\"aggregated\",\"round\":{round},\
                 \"aggregation\":{{\"exactness_error\":null,{measures}\"state_digest\":\"ab\",\
                 \"refused\":[]}}}}"
            )
        }
        let forms: [fn(u32, &str) -> String; 2] = [finished, aggregated];
        for line in forms {
            let now = line(2, "\"measures\":{\"norm\":0.1},");
            assert_eq!(checked(&now, &now), Ok(()));
            assert_eq!(checked(&line(2, ""), &now), Ok(()));
            assert!(diverged(checked(&line(3, ""), &now)));
            let other = line(2, "\"measures\":{\"norm\":0.2},");
            assert!(diverged(checked(&other, &now)));
            assert!(diverged(checked(&now, &line(2, ""))));
        }
    }
}
