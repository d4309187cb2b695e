//! Texts that a run's model wrote, in the folder of the run: a file a round, and one for the model
//! before training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::schema::SplitName;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::tasks::texts::WrittenText;

/// What was written after a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratedTexts {
    /// The round; 0: before training.
    pub round: u32,
    /// The split whose prompts they are for.
    pub split: SplitName,
    /// Their scores, by metric.
    pub scores: BTreeMap<String, f64>,
    /// The texts, in the order of the prompts.
    pub texts: Vec<WrittenText>,
}

impl GeneratedTexts {
    /// Writes them into the folder of a run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<(), FileError> {
        let path = Self::path(folder, self.round);
        files::make_folder(&folder.path_of(Artifact::Generated))?;
        let json = serde_json::to_vec_pretty(self);
        let json = json.map_err(|error| FileError::content(&path, error.to_string()))?;
        files::write_atomically(&path, &json)
    }

    /// The file of a round.
    #[must_use]
    pub fn path(folder: &RunFolder, round: u32) -> PathBuf {
        let generated = folder.path_of(Artifact::Generated);
        generated.join(format!("round-{round:05}.json"))
    }

    /// The rounds that texts were written after, in order.
    #[must_use]
    pub fn rounds(folder: &RunFolder) -> Vec<u32> {
        let entries = std::fs::read_dir(folder.path_of(Artifact::Generated));
        let names = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let mut rounds: Vec<u32> = names.filter_map(|path| round_of(&path)).collect();
        rounds.sort_unstable();
        rounds
    }
}

fn round_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("round-")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_by_their_round() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        assert!(GeneratedTexts::rounds(&folder).is_empty());
        let of = |round| GeneratedTexts {
            round,
            split: SplitName::Validation,
            scores: BTreeMap::from([("bleu".to_owned(), 0.5)]),
            texts: vec![WrittenText {
                prompt: "a ->".to_owned(),
                text: "é\\n".to_owned(),
                score: -0.1,
                references: vec!["b".to_owned()],
            }],
        };
        for round in [10, 0, 2] {
            of(round).write(&folder).unwrap();
        }
        assert_eq!(GeneratedTexts::rounds(&folder), [0, 2, 10]);
        let written = std::fs::read(GeneratedTexts::path(&folder, 2)).unwrap();
        let read: GeneratedTexts = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, of(2));
    }
}
