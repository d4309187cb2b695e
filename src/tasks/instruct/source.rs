//! Files of JSON and JSON lines as splits.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::file_error::FileError;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::json::JsonFile;
use crate::data::formats::records::RecordFormat;
use crate::data::schema::SplitName;
use crate::data::split::{Example, Split};
use crate::tasks::instruct::record::Record;
use crate::tasks::{ReadOptions, TaskData};

/// The names of the files of each split, without their extensions.
const NAMES: [(SplitName, &[&str]); 3] = [
    (SplitName::Train, &["train"]),
    (
        SplitName::Validation,
        &["validation", "valid", "val", "dev", "eval"],
    ),
    (SplitName::Test, &["test"]),
];

/// The extensions of files that are read.
const EXTENSIONS: [&str; 3] = ["jsonl", "json", "ndjson"];

/// What is wrong with a table.
const NOT_JSON: &str = "instructions are in JSON or JSON lines; a table is learnt from with --task \
                        FILE --prompt '{COLUMN}' --answer COLUMN";

/// Where there is no validation split, one in this many prompts is held out.
const HELD_OUT: u64 = 10;

/// The files of each split, one after the other. Without files of a validation split, a share of
/// the training split is held out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstructFiles {
    /// Those that clients train on.
    pub train: Vec<PathBuf>,
    /// Those held out; there may be none.
    pub validation: Vec<PathBuf>,
    /// Those to be answered; there may be none.
    pub test: Vec<PathBuf>,
}

impl InstructFiles {
    /// A file, or the files of a folder by their names. A folder's only file needs no name.
    ///
    /// # Errors
    /// If there are none, or several that could be meant, or the file is a table.
    pub fn find(path: &Path) -> Result<Self, DataError> {
        if path.is_file() {
            if RecordFormat::of(path).is_some_and(|it| it != RecordFormat::Json) {
                return Err(DataError::File(FileError::content(path, NOT_JSON)));
            }
            return Ok(Self {
                train: vec![path.to_owned()],
                ..Self::default()
            });
        }
        let mut files = Self::default();
        for (split, names) in NAMES {
            let candidates = names
                .iter()
                .flat_map(|name| EXTENSIONS.map(|extension| (name, extension)));
            let candidates =
                candidates.map(|(name, extension)| path.join(format!("{name}.{extension}")));
            let found: Vec<PathBuf> = candidates.filter(|file| file.is_file()).collect();
            if found.len() > 1 {
                let split = split.hub_name();
                return Err(DataError::SeveralSets { split, found });
            }
            match split {
                SplitName::Train => files.train = found,
                SplitName::Test => files.test = found,
                _ => files.validation = found,
            }
        }
        if files.train.is_empty() {
            files.train = vec![only_file(path, &files)?];
        }
        Ok(files)
    }

    /// Reads all splits.
    ///
    /// # Errors
    /// If a file cannot be read or is not JSON, a record has no conversation or no answer, the
    /// training split lacks a column that was asked for, or there is only one prompt to train on and
    /// to hold out.
    pub fn read(&self, folder: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        let reader = |name, columns| RecordReader { name, columns };
        let train = reader(SplitName::Train, options.columns.as_slice());
        let held_out = reader(SplitName::Validation, &[]);
        let (train, validation) = if self.validation.is_empty() {
            let (mut kept, mut held) = hold_out(train.examples(&self.train, None)?, &self.train)?;
            kept.truncate(options.limit_train.unwrap_or(usize::MAX));
            held.truncate(options.limit_eval.unwrap_or(usize::MAX));
            (train.split(&kept)?, held_out.split(&held)?)
        } else {
            let kept = train.examples(&self.train, options.limit_train)?;
            let held = held_out.examples(&self.validation, options.limit_eval)?;
            (train.split(&kept)?, held_out.split(&held)?)
        };
        let test = match &*self.test {
            [] => Vec::new(),
            files => {
                let reader = reader(SplitName::Test, &[]);
                vec![reader.split(&reader.examples(files, options.limit_test)?)?]
            }
        };
        Ok(TaskData {
            folder: folder.to_owned(),
            train,
            validation: vec![validation],
            test,
        })
    }
}

/// The only file of a folder that could be meant besides those that are known.
fn only_file(folder: &Path, known: &InstructFiles) -> Result<PathBuf, DataError> {
    let is_meant = |path: &PathBuf| {
        let extension = path.extension().and_then(|it| it.to_str());
        extension.is_some_and(|it| EXTENSIONS.contains(&it))
            && !known.validation.contains(path)
            && !known.test.contains(path)
            && path.is_file()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|it| it.path()).filter(is_meant).collect();
    found.sort();
    match &*found {
        [only] => Ok(only.clone()),
        [] => Err(DataError::Missing {
            task: "instruct",
            dir: folder.to_owned(),
            looked_for: EXTENSIONS
                .map(|it| folder.join(format!("train.{it}")))
                .to_vec(),
        }),
        _ => Err(DataError::Ambiguous {
            task: "instruct",
            dir: folder.to_owned(),
            found,
        }),
    }
}

/// An example as it was read.
struct ReadExample {
    prompt: String,
    answer: Option<String>,
    /// The values of the further columns.
    values: Vec<String>,
    place: SourceSpan,
}

/// Divides examples by a hash of their prompts, so that all answers to a prompt are on one side.
fn hold_out(
    examples: Vec<ReadExample>,
    files: &[PathBuf],
) -> Result<(Vec<ReadExample>, Vec<ReadExample>), DataError> {
    let hash = |example: &ReadExample| {
        let hash = blake3::hash(example.prompt.as_bytes());
        let (first, _) = hash
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 8], &[]));
        u64::from_le_bytes(*first)
    };
    let mut hashes: Vec<u64> = examples.iter().map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let file = files.first().cloned().unwrap_or_default();
    if hashes.len() < 2 {
        return Err(match examples.len() {
            0 => DataError::Empty { path: file },
            _ => DataError::File(FileError::content(
                &file,
                "there is one prompt, and none to hold out for validation; give more, or a file of \
                 the validation split",
            )),
        });
    }
    let below = hashes.partition_point(|hash| *hash < u64::MAX / HELD_OUT);
    let first_kept = hashes[below.clamp(1, hashes.len() - 1)];
    let all = examples.len();
    let (held, kept): (Vec<_>, Vec<_>) = examples.into_iter().partition(|it| hash(it) < first_kept);
    tracing::warn!(
        "{} of {all} examples are held out for validation, by a hash of their prompts: there is no \
         file of a validation split",
        held.len()
    );
    Ok((kept, held))
}

/// How a split is read.
struct RecordReader<'a> {
    name: SplitName,
    columns: &'a [String],
}

impl RecordReader<'_> {
    /// The first examples of files.
    fn examples(
        &self,
        files: &[PathBuf],
        limit: Option<usize>,
    ) -> Result<Vec<ReadExample>, DataError> {
        let mut examples = Vec::new();
        let mut left_out: Vec<SourceSpan> = Vec::new();
        for path in files {
            let left = limit.map(|limit| limit.saturating_sub(examples.len()));
            let file = JsonFile::read(path, left)?;
            self.check_columns(path, &file)?;
            for (place, fields) in file.records() {
                let record = Record {
                    fields,
                    place: &place,
                    may_lack_answer: self.name.is_test(),
                };
                if record.has_empty_output() {
                    left_out.push(place);
                    continue;
                }
                let (conversation, answer) = record.conversation()?;
                let value = |column: &String| match fields.get(column) {
                    Some(Value::String(text)) => Ok(text.clone()),
                    Some(value) if !value.is_null() => Ok(value.to_string()),
                    _ => Err(record.missing(column)),
                };
                examples.push(ReadExample {
                    prompt: conversation.to_text(),
                    answer,
                    values: self.columns.iter().map(value).collect::<Result<_, _>>()?,
                    place,
                });
            }
        }
        if let Some(first) = left_out.first() {
            tracing::warn!(
                "left out of the {} split, for their answers are empty: {} of the examples, the first \
                 at {first}",
                self.name,
                left_out.len()
            );
        }
        match (files.first(), examples.is_empty() && limit != Some(0)) {
            (Some(path), true) => Err(DataError::Empty { path: path.clone() }),
            _ => Ok(examples),
        }
    }

    /// That some record has each column.
    fn check_columns(&self, path: &Path, file: &JsonFile) -> Result<(), DataError> {
        for column in self.columns {
            let Some((_, first)) = file.records().next() else {
                return Ok(());
            };
            if !file
                .records()
                .any(|(_, fields)| fields.contains_key(column))
            {
                return Err(DataError::MissingColumn {
                    path: path.to_owned(),
                    column: column.clone(),
                    available: first.keys().cloned().collect(),
                });
            }
        }
        Ok(())
    }

    fn split(&self, examples: &[ReadExample]) -> Result<Split, DataError> {
        let mut split = Split::new(true, self.name);
        for (id, example) in (0..).zip(examples) {
            split.push(Example {
                id,
                text_a: &example.prompt,
                text_b: example.answer.as_deref(),
                label: None,
            });
            split.push_place(&example.place);
            for (column, value) in self.columns.iter().zip(&example.values) {
                split.push_value(column, value);
            }
        }
        Ok(split)
    }
}

#[cfg(test)]
mod tests;
