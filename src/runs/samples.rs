//! Samples of the texts that a run's model wrote: small enough to be shown, however many there are.

use std::io::BufReader;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::schema::SplitName;
use crate::runs::folder::RunFolder;
use crate::runs::generated::GeneratedTexts;
use crate::tasks::SharedTask;
use crate::tasks::texts::WrittenText;

/// Most texts of a sample.
pub const MOST_TEXTS: usize = 12;
/// Most references of a text.
const MOST_REFERENCES: usize = 12;
/// Most characters of a prompt, a text or a reference.
const LONGEST: usize = 1000;

/// The first texts that were written after a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextSample {
    /// The round; 0: before training.
    pub round: u32,
    /// The split whose prompts they are for.
    pub split: SplitName,
    /// The texts, in the order of the prompts.
    pub texts: Vec<SampledText>,
}

/// A text with what it answers, each cut to a bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampledText {
    /// The prompt.
    pub prompt: String,
    /// What the prompt names: names and values. Nothing where it is to be shown as it is.
    pub parts: Vec<(String, String)>,
    /// What the model wrote.
    pub text: String,
    /// Right answers.
    pub references: Vec<String>,
}

/// The texts of a run: its folder, and the task that its prompts are of.
#[derive(Debug, Clone)]
pub struct TextSource {
    folder: RunFolder,
    task: SharedTask,
}

impl TextSource {
    /// The texts in a run's folder; `None` if the task's models write none.
    #[must_use]
    pub fn of(folder: RunFolder, task: SharedTask) -> Option<Self> {
        task.texts()?;
        Some(Self { folder, task })
    }

    /// Whether texts were written after a round.
    #[must_use]
    pub fn has(&self, round: u32) -> bool {
        GeneratedTexts::path(&self.folder, round).is_file()
    }

    /// The rounds that texts were written after, in order.
    #[must_use]
    pub fn rounds(&self) -> Vec<u32> {
        GeneratedTexts::rounds(&self.folder)
    }

    /// The first texts of a round; `None` if there are none. The rest of the file is passed over.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn sample(&self, round: u32) -> Result<Option<TextSample>, FileError> {
        let path = GeneratedTexts::path(&self.folder, round);
        if !path.is_file() {
            return Ok(None);
        }
        let read: FirstTexts = serde_json::from_reader(BufReader::new(files::open(&path)?))
            .map_err(|error| FileError::content(&path, error.to_string()))?;
        let texts = read.texts.into_iter().map(|text| self.sampled(text));
        Ok(Some(TextSample {
            round: read.round,
            split: read.split,
            texts: texts.collect(),
        }))
    }

    fn sampled(&self, written: WrittenText) -> SampledText {
        let parts = self.task.prompt_parts(&written.prompt).into_iter();
        let references = written.references.into_iter().take(MOST_REFERENCES);
        SampledText {
            parts: parts
                .map(|(name, value)| (cut(name.to_owned()), cut(value.to_owned())))
                .collect(),
            text: cut(written.text),
            references: references.map(cut).collect(),
            prompt: cut(written.prompt),
        }
    }
}

/// A text of bounded length; what is cut off leaves a mark.
fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// What is read of a file.
#[derive(Deserialize)]
struct FirstTexts {
    round: u32,
    split: SplitName,
    #[serde(deserialize_with = "first")]
    texts: Vec<WrittenText>,
}

/// Reads the first of a list, and passes over the rest.
fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WrittenText>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Vec<WrittenText>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while texts.len() < MOST_TEXTS
                && let Some(text) = list.next_element()?
            {
                texts.push(text);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(texts)
        }
    }
    deserializer.deserialize_seq(First)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tasks::registry;

    /// Writes N texts of a round into a folder.
    pub(crate) fn write(folder: &RunFolder, round: u32, number: usize) {
        let text = |at| WrittenText {
            prompt: format!("name[Inn {at}], area[<b>] ->"),
            text: format!("Inn {at} after round {round}."),
            score: -0.1,
            references: vec!["An inn.".to_owned()],
        };
        let texts = GeneratedTexts {
            round,
            split: SplitName::Validation,
            scores: BTreeMap::new(),
            texts: (0..number).map(text).collect(),
        };
        texts.write(folder).unwrap();
    }

    fn source(folder: &RunFolder) -> TextSource {
        TextSource::of(folder.clone(), registry::find("e2e").unwrap()).unwrap()
    }

    #[test]
    fn a_sample_has_the_first_texts_with_what_their_prompts_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        write(&folder, 3, 500);
        let source = source(&folder);
        let sample = source.sample(3).unwrap().unwrap();
        assert_eq!((sample.round, sample.texts.len()), (3, MOST_TEXTS));
        let second = &sample.texts[1];
        let parts = [("name", "Inn 1"), ("area", "<b>")];
        assert_eq!(
            second.parts,
            parts.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        assert_eq!(second.text, "Inn 1 after round 3.");
        assert_eq!(source.sample(2).unwrap(), None);
        assert!(source.has(3) && !source.has(2));
    }

    #[test]
    fn a_sample_is_of_bounded_size_and_a_damaged_file_an_error() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        let long = "é".repeat(100_000);
        let texts = GeneratedTexts {
            round: 1,
            split: SplitName::Validation,
            scores: BTreeMap::from([("nist".to_owned(), f64::NAN)]),
            texts: vec![WrittenText {
                prompt: format!("name[{long}]"),
                text: long.clone(),
                score: 0.0,
                references: vec![long; 100],
            }],
        };
        texts.write(&folder).unwrap();
        let source = source(&folder);
        let sample = source.sample(1).unwrap().unwrap();
        assert!(sample.texts[0].text.ends_with('…'));
        assert!(serde_json::to_vec(&sample).unwrap().len() < 50_000);
        let path = GeneratedTexts::path(&folder, 1);
        std::fs::write(&path, "{\"round\":1").unwrap();
        let wrong = source.sample(1).unwrap_err().to_string();
        assert!(wrong.contains("round-00001.json"), "{wrong}");
    }

    #[test]
    fn a_task_without_texts_has_no_source() {
        let folder = RunFolder::at(std::path::Path::new("none"));
        assert!(TextSource::of(folder, registry::default()).is_none());
    }
}
