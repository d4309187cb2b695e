//! The official files: `trainset.csv`, `devset.csv`, and `testset_w_refs.csv` or `testset.csv`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::formats::csv::CsvFile;
use crate::data::schema::SplitName;
use crate::data::split::{Example, Split};
use crate::tasks::e2e::slots::{NUMBER, slots, value};
use crate::tasks::{ReadOptions, TaskData};

const TRAIN: &str = "trainset.csv";
const DEV: &str = "devset.csv";
/// The test split with its references, else without.
const TEST: [&str; 2] = ["testset_w_refs.csv", "testset.csv"];

/// What the columns are called: by the official files, then on the hub.
const REPRESENTATION: [&str; 2] = ["mr", "meaning_representation"];
const REFERENCE: [&str; 2] = ["ref", "human_reference"];

/// Folders within the one that is named, in which the files may be.
const FOLDERS: [&str; 3] = ["e2e", "e2e-dataset", "e2e_nlg"];

/// The folder with the files: `dir`, or one in it.
///
/// # Errors
/// [`DataError::Missing`] with all that was looked for.
pub fn locate(dir: &Path) -> Result<PathBuf, DataError> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| dir.join(name)).collect();
    folders.push(dir.to_owned());
    let found = folders.iter().find(|folder| folder.join(TRAIN).is_file());
    found.cloned().ok_or_else(|| DataError::Missing {
        task: "e2e",
        dir: dir.to_owned(),
        looked_for: folders.iter().map(|folder| folder.join(TRAIN)).collect(),
    })
}

/// Reads all splits.
///
/// # Errors
/// If files are missing or not tables, lack their columns, or the training split has no property of
/// a column that was asked for.
pub fn read(dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
    let folder = locate(dir)?;
    let of = |file: &str, name, limit| {
        SplitReader {
            path: folder.join(file),
            name,
            limit,
            columns: &options.columns,
        }
        .read()
    };
    let train = of(TRAIN, SplitName::Train, options.limit_train)?;
    let validation = of(DEV, SplitName::Validation, options.limit_eval)?;
    let test = TEST.iter().find(|file| folder.join(file).is_file());
    let test = test.map(|file| of(file, SplitName::Test, options.limit_test));
    Ok(TaskData {
        train,
        validation: vec![validation],
        test: test.transpose()?.into_iter().collect(),
        folder,
    })
}

/// A split that is to be read.
struct SplitReader<'a> {
    path: PathBuf,
    name: SplitName,
    limit: Option<usize>,
    columns: &'a [String],
}

impl SplitReader<'_> {
    fn read(&self) -> Result<Split, DataError> {
        let file = CsvFile::read(&self.path, self.limit)?;
        let representation = file.column(&REPRESENTATION)?;
        let reference = match self.name.is_test() {
            true => file.column(&REFERENCE).ok(),
            false => Some(file.column(&REFERENCE)?),
        };
        let mut split = Split::new(true, self.name);
        let mut known = BTreeSet::from([NUMBER.to_owned()]);
        for (row, (place, record)) in file.records().enumerate() {
            let text = record.get(representation).unwrap_or_default();
            let answer = reference.map(|at| record.get(at).unwrap_or_default());
            for (column, found) in [("mr", Some(text)), ("ref", answer)] {
                if found.is_some_and(|text| text.trim().is_empty()) {
                    return Err(DataError::Cell {
                        place,
                        column: column.to_owned(),
                        found: String::new(),
                        expected: "text".to_owned(),
                    });
                }
            }
            let prompt = format!("{text} ->");
            let answer = answer.map(|answer| format!(" {answer}"));
            split.push(Example {
                id: row as u32,
                text_a: &prompt,
                text_b: answer.as_deref(),
                label: None,
            });
            known.extend(slots(text).map(|(name, _)| name.to_owned()));
            for column in self.columns {
                split.push_value(column, &value(text, column));
            }
        }
        self.check(&split, known)?;
        Ok(split)
    }

    fn check(&self, split: &Split, known: BTreeSet<String>) -> Result<(), DataError> {
        if split.is_empty() && self.limit != Some(0) {
            return Err(DataError::Empty {
                path: self.path.clone(),
            });
        }
        let unknown = self.columns.iter().find(|column| !known.contains(*column));
        match unknown {
            Some(column) if self.name == SplitName::Train => Err(DataError::MissingColumn {
                path: self.path.clone(),
                column: column.clone(),
                available: known.into_iter().collect(),
            }),
            _ => Ok(()),
        }
    }
}
