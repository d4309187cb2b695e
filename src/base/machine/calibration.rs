//! What calibrations found, one entry per kind of machine, so that a home that several machines
//! share serves all of them.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::file_error::FileError;
use crate::base::files;

/// The head of the file.
const HEAD: &str = "# Threads per lane on each machine, found by `regatta doctor \
                    --calibrate`.\n# A machine without an entry uses one thread per lane.\n\n";

/// A machine, and what is best on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The processor's name.
    pub processor: String,
    /// Cores that a process may use.
    pub cores: u32,
    /// Threads of each lane.
    pub threads_per_lane: u32,
    /// The model that was trained.
    pub model: String,
    /// Examples trained per second.
    pub examples_per_second: f64,
    /// The time of the measurement.
    pub measured: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    machines: Vec<Entry>,
}

/// Where it is remembered; `None` for a user without a home.
#[must_use]
pub fn path() -> Option<PathBuf> {
    Some(files::state_folder()?.join("lanes.toml"))
}

/// The calibration of a machine. A file that cannot be used causes only a warning: the
/// machine then counts as not calibrated.
#[must_use]
pub fn recall(path: &Path, processor: &str, cores: u32) -> Option<Entry> {
    match find(path, processor, cores) {
        Ok(entry) => entry,
        Err(error) => {
            tracing::warn!(
                "ignoring the calibration in {}: {error}; remove the file, or run `regatta doctor \
                 --calibrate` again",
                path.display()
            );
            None
        }
    }
}

fn find(path: &Path, processor: &str, cores: u32) -> Result<Option<Entry>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let file: File = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    let same = |entry: &Entry| entry.processor == processor && entry.cores == cores;
    let found = file.machines.into_iter().find(same);
    if let Some(entry) = &found
        && !(1..=cores).contains(&entry.threads_per_lane)
    {
        let threads = entry.threads_per_lane;
        return Err(format!(
            "{threads} threads per lane do not fit {cores} cores"
        ));
    }
    Ok(found)
}

/// Remembers what was found for a machine, in the place of what was before; the others' entries
/// stay where the file can be read.
///
/// # Errors
/// If it cannot be written.
pub fn remember(path: &Path, entry: Entry) -> Result<(), FileError> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut file: File = toml::from_str(&text).unwrap_or_default();
    file.machines
        .retain(|other| (&other.processor, other.cores) != (&entry.processor, entry.cores));
    file.machines.push(entry);
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    let body = toml::to_string(&file);
    let body = body.map_err(|error| FileError::content(path, error.to_string()))?;
    files::write_atomically(path, format!("{HEAD}{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(processor: &str, cores: u32, threads: u32) -> Entry {
        Entry {
            processor: processor.to_owned(),
            cores,
            threads_per_lane: threads,
            model: "random:minilm-l6".to_owned(),
            examples_per_second: 40.5,
            measured: "2026-11-23".to_owned(),
        }
    }

    fn threads(path: &Path, processor: &str, cores: u32) -> Option<u32> {
        find(path, processor, cores)
            .unwrap()
            .map(|entry| entry.threads_per_lane)
    }

    #[test]
    fn each_machine_has_its_own_entry_and_the_last_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lanes.toml");
        assert_eq!(threads(&path, "A", 8), None);
        for entry in [entry("A", 8, 2), entry("B", 8, 4), entry("A", 8, 8)] {
            remember(&path, entry).unwrap();
        }
        assert_eq!(threads(&path, "A", 8), Some(8));
        assert_eq!(threads(&path, "B", 8), Some(4));
        assert_eq!(threads(&path, "A", 4), None);
    }

    #[test]
    fn a_file_of_something_else_or_with_nonsense_is_not_used_and_a_calibration_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanes.toml");
        for text in ["\0", "[[dogs]]\nname = \"Rex\"\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(find(&path, "A", 2).is_err(), "{text}");
            assert_eq!(recall(&path, "A", 2), None);
        }
        remember(&path, entry("A", 2, 3)).unwrap();
        let error = find(&path, "A", 2).unwrap_err();
        assert!(error.contains("3 threads"), "{error}");
        remember(&path, entry("A", 2, 2)).unwrap();
        assert_eq!(threads(&path, "A", 2), Some(2));
    }
}
