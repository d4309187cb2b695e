//! The files of a task of the user's own, read into splits.

use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::formats::records;
use crate::data::schema::SplitName;
use crate::tasks::custom::CustomTask;
use crate::tasks::custom::example::{ExampleReader, OwnExample};
use crate::tasks::custom::filling::SplitFiller;
use crate::tasks::{ReadOptions, TaskData};

/// Reads all splits; paths that are not absolute are taken from a folder.
///
/// # Errors
/// If a file is missing or is not a table of records, a record is not an example, two examples have
/// one id, a file is in two splits, or a split is empty or cannot be learnt from.
pub fn read(task: &CustomTask, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
    let files = [
        (SplitName::Train, &task.files.train),
        (SplitName::Validation, &task.files.validation),
        (SplitName::Test, &task.files.test),
    ]
    .map(|(split, files)| {
        (
            split,
            files.iter().map(|it| dir.join(it)).collect::<Vec<_>>(),
        )
    });
    require_apart(&files)?;
    let [train, validation, test] = files.map(|(_, files)| files);
    let filler = |name, limit| SplitFiller::new(task, name, limit, &options.columns);
    let mut train_split = filler(SplitName::Train, options.limit_train);
    let mut validation_split = filler(SplitName::Validation, options.limit_eval);
    match task.holdout {
        Some(share) => {
            let reader = ExampleReader::new(task, SplitName::Train, options);
            each(
                &reader,
                &train,
                None,
                &mut |example| match is_held_out(task, &example, share) {
                    true => validation_split.add(&example),
                    false => train_split.add(&example),
                },
            )?;
            validation_split.require_apart_from(&train_split)?;
            validation_split.require_held_out(share, train_split.len())?;
        }
        None => {
            fill(task, &mut train_split, &train, options)?;
            fill(task, &mut validation_split, &validation, options)?;
            validation_split.warn_of_texts_of(&train_split);
        }
    }
    let mut test_splits = Vec::new();
    if !test.is_empty() {
        let mut split = filler(SplitName::Test, options.limit_test);
        fill(task, &mut split, &test, options)?;
        test_splits.push(split.finish(&test)?);
    }
    let first = train.first().and_then(|file| file.parent());
    Ok(TaskData {
        folder: first.unwrap_or(dir).to_owned(),
        train: train_split.finish(&train)?,
        validation: vec![validation_split.finish(match task.holdout {
            Some(_) => &train,
            None => &validation,
        })?],
        test: test_splits,
    })
}

fn fill(
    task: &CustomTask,
    split: &mut SplitFiller<'_>,
    files: &[PathBuf],
    options: &ReadOptions,
) -> Result<(), DataError> {
    let reader = ExampleReader::new(task, split.name(), options);
    let limit = split.limit();
    each(&reader, files, limit, &mut |example| split.add(&example))
}

/// Gives the examples of files, or the first ones, in order.
fn each(
    reader: &ExampleReader<'_>,
    files: &[PathBuf],
    limit: Option<usize>,
    take: &mut dyn FnMut(OwnExample) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut read = 0;
    for file in files {
        let left = limit.map(|limit| limit - read);
        records::read(file, &reader.columns(), left, &mut |record| {
            read += 1;
            take(reader.example(record)?)
        })?;
    }
    Ok(())
}

/// Whether an example is held out: by the hash of its text, whatever the order of the examples and
/// the format of their file, so that those of one text, or of one prompt, stay together.
fn is_held_out(task: &CustomTask, example: &OwnExample, share: f64) -> bool {
    let mut hasher = blake3::Hasher::new_derive_key("regatta holdout v1");
    hasher.update(example.text_a.as_bytes());
    if task.has_labels()
        && let Some(second) = &example.text_b
    {
        hasher.update(&[0]);
        hasher.update(second.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    (u64::from_le_bytes(first) as f64) < share * 2_f64.powi(64)
}

/// Refuses a file that is named twice.
fn require_apart(files: &[(SplitName, Vec<PathBuf>)]) -> Result<(), DataError> {
    let mut seen: Vec<(PathBuf, SplitName)> = Vec::new();
    for (split, files) in files {
        for file in files {
            let own = file.canonicalize().unwrap_or_else(|_| file.clone());
            if let Some((_, other)) = seen.iter().find(|(known, _)| *known == own) {
                let wrong = match other == split {
                    true => format!("has {} twice; name it once", file.display()),
                    false => format!(
                        "has {}, which is a file of the {other} split too; a model is not to be \
                         scored on what it has learnt",
                        file.display()
                    ),
                };
                return Err(DataError::Split {
                    split: *split,
                    wrong,
                });
            }
            seen.push((own, *split));
        }
    }
    Ok(())
}
