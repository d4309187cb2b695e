//! The error type of data sets, tokenizers and what is written from them.

use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;
use crate::base::hub_error::HubError;
use crate::data::partition::error::PartitionError;
use crate::data::schema::SplitName;
pub use crate::data::source_span::SourceSpan;
use crate::model::source::gguf::error::GgufError;

/// What can be wrong with data, tokenizers and what is written from them.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is no task of this name.
    #[error("unknown task `{found}`; known are {known}")]
    UnknownTask {
        /// The name as it was given.
        found: String,
        /// The names that there are.
        known: String,
    },
    /// A task's files are not where they were looked for.
    #[error("no {task} data in {}; looked for {}", dir.display(), list(looked_for))]
    Missing {
        /// The task's name.
        task: &'static str,
        /// The folder that was named.
        dir: PathBuf,
        /// Every file that would have done.
        looked_for: Vec<PathBuf>,
    },
    /// Several folders could be meant, and none carries the task's own name.
    #[error("{} holds several files or folders for {task}: {}; name one of them", dir.display(), list(found))]
    Ambiguous {
        /// The task's name.
        task: &'static str,
        /// The folder that was named.
        dir: PathBuf,
        /// The folders that could be meant.
        found: Vec<PathBuf>,
    },
    /// Files of more than one upload, or in more than one format, hold the same split.
    #[error(
        "more than one set of files holds the split `{split}`, and each row of it would count more \
         than once: {}; keep one set and move the others away",
        list(found)
    )]
    SeveralSets {
        /// The split's name.
        split: &'static str,
        /// The files of all sets.
        found: Vec<PathBuf>,
    },
    /// A file's cell (or label) holds what the task does not allow.
    #[error("{place}: column `{column}` holds `{found}`, expected {expected}")]
    Cell {
        /// The place in the file.
        place: SourceSpan,
        /// The column's name.
        column: String,
        /// The value found.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// A line has fewer fields than its header.
    #[error(
        "{place}: {found} fields, expected at least {expected} ({separator} separated: {columns})"
    )]
    TooFewFields {
        /// The place in the file.
        place: SourceSpan,
        /// The number found.
        found: usize,
        /// The number that the columns need.
        expected: usize,
        /// What is between fields, in a word.
        separator: &'static str,
        /// The columns' names.
        columns: String,
    },
    /// A column that the task, or a partition, needs is not there.
    #[error("{}: no column `{column}`; it has {}", path.display(), columns(available))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The requested column.
        column: String,
        /// The columns there.
        available: Vec<String>,
    },
    /// A record lacks a key. Where several keys mean the same, the first of them is named.
    #[error("{place}: no key `{key}`; it has {}", columns(available))]
    MissingKey {
        /// The place in the file.
        place: SourceSpan,
        /// The key that is needed.
        key: String,
        /// The record's keys.
        available: Vec<String>,
    },
    /// A column that is there, but in no form that can be read.
    #[error("{}: column `{column}` {message}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// A description of the problem.
        message: String,
    },
    /// A file of a format that is not read.
    #[error(
        "{}: unknown format; the name of a file of records ends with .csv, .tsv, .jsonl, .ndjson, \
         .json or .parquet", path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Two examples have the same id.
    #[error(
        "{second}: the id `{id}` is that of {first} too, so a prediction could not be told from \
         the other; give each example of a split its own"
    )]
    SameId {
        /// The id of both.
        id: String,
        /// The first.
        first: SourceSpan,
        /// The other.
        second: SourceSpan,
    },
    /// A split cannot be used as a whole.
    #[error("the {split} split {wrong}")]
    Split {
        /// The split.
        split: SplitName,
        /// The problem, and what would be right.
        wrong: String,
    },
    /// A template that cannot be used, or not for an example.
    #[error("{}the template `{template}` {reason}", Before(place.as_ref()))]
    Template {
        /// The template's name.
        template: String,
        /// The place of the example, if it is about one.
        place: Option<SourceSpan>,
        /// The problem, and what would be right.
        reason: String,
    },
    /// A split without a single example.
    #[error("{}: no examples", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A model's `config.json`, `tokenizer.json` or GGUF file that cannot be used.
    #[error(transparent)]
    Model(FileError),
    /// A sequence length that the model or the tokenizer cannot do.
    #[error("max_seq_length {requested} does not fit the model: it takes {least} to {most} tokens")]
    SequenceLength {
        /// The requested length.
        requested: usize,
        /// The least that leaves room for the special tokens and one token of each text.
        least: usize,
        /// The model's positions.
        most: usize,
    },
    /// A prediction that is not one of the task's labels.
    #[error("{task}: the prediction for example {row} is {found}, expected {expected}")]
    Prediction {
        /// The task's name.
        task: String,
        /// The example's position, from 0.
        row: usize,
        /// The prediction.
        found: f32,
        /// The expected value.
        expected: String,
    },
    /// A file or folder that cannot be read or written, or a file of text or Parquet that is none.
    #[error(transparent)]
    File(#[from] FileError),
    /// A split cannot be partitioned as requested.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// Something could not be fetched from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl DataError {
    /// A problem with a file of a model's.
    pub(crate) fn model(path: &Path, reason: impl Into<String>) -> Self {
        Self::Model(FileError::content(path, reason))
    }
}

impl From<GgufError> for DataError {
    fn from(error: GgufError) -> Self {
        Self::Model(error.into())
    }
}

/// A place with the separator before a message, or nothing.
struct Before<'a>(Option<&'a SourceSpan>);

impl std::fmt::Display for Before<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |place| write!(f, "{place}: "))
    }
}

/// As much of a value as a message has room for, on one line: control characters are spelled out,
/// which could also act on a terminal.
pub(crate) fn shortened(text: String) -> String {
    const MOST: usize = 80;
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        match character {
            _ if at == MOST => {
                shown.push('…');
                break;
            }
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// The names of columns or keys, in words.
fn columns(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => listed(names),
    }
}

/// Names, or as many of them as a message has room for.
pub(crate) fn listed(names: &[String]) -> String {
    const MOST: usize = 32;
    let shown = names.iter().take(MOST).cloned();
    let mut shown: Vec<String> = shown.map(shortened).collect();
    if names.len() > MOST {
        shown.push(format!("and {} more", names.len() - MOST));
    }
    shown.join(", ")
}

/// The paths, or as many of them as a message has room for.
fn list(paths: &[PathBuf]) -> String {
    const MOST: usize = 32;
    let shown = paths.iter().take(MOST);
    let mut names: Vec<_> = shown.map(|path| path.display().to_string()).collect();
    if paths.len() > MOST {
        names.push(format!("and {} more", paths.len() - MOST));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        assert_eq!(shortened("é".repeat(80)), "é".repeat(80));
        assert_eq!(shortened("é".repeat(81)), format!("{}…", "é".repeat(80)));
    }

    #[test]
    fn a_value_in_a_message_is_one_line_and_does_not_act_on_a_terminal() {
        let shown = shortened("a\nb\u{1b}[2J\0é".to_owned());
        assert_eq!(shown, "a\\nb\\u{1b}[2J\\u{0}é");
    }

    #[test]
    fn a_message_names_some_of_very_many_columns() {
        let names: Vec<String> = (0..1000).map(|at| at.to_string()).collect();
        assert!(columns(&names).ends_with("31, and 968 more"));
        assert_eq!(columns(&[]), "none");
    }
}
