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
    let first = first.map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
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
        records::read(file, reader.columns(), left, &mut |record| {
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
    example.hash_texts(task, &mut hasher);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::partition::spec::Partition;
    use crate::tasks::custom::SplitFiles;
    use crate::tasks::custom::form::{
        AnsweredForm, ExampleForm, LabelNames, LabelRule, LabelledForm,
    };
    use crate::tasks::custom::metrics;
    use crate::tasks::{Task, label_groups::LabelGroups};

    fn task(form: ExampleForm, files: [&[&str]; 3], holdout: Option<f64>) -> CustomTask {
        let [train, validation, test] = files.map(|all| all.iter().map(PathBuf::from).collect());
        let mut task = CustomTask {
            name: "own".to_owned(),
            files: SplitFiles {
                train,
                validation,
                test,
            },
            holdout,
            id: None,
            form,
            metrics: Vec::new(),
        };
        task.metrics = metrics::default(&task.objective());
        task
    }

    fn classes() -> ExampleForm {
        let labels = ["no", "yes"].map(str::to_owned).to_vec();
        ExampleForm::Labelled(LabelledForm {
            text: "text".to_owned(),
            text2: None,
            label: vec!["label".to_owned()],
            rule: LabelRule::Class(LabelNames {
                names: labels.clone(),
                values: labels,
            }),
        })
    }

    fn rows(numbers: impl Iterator<Item = usize>) -> String {
        let label = |at: usize| if at.is_multiple_of(2) { "no" } else { "yes" };
        let rows = numbers.map(|at| format!("text {at},{},{}\n", label(at), at % 3));
        format!("text,label,shop\n{}", rows.collect::<String>())
    }

    #[test]
    fn the_share_that_is_held_out_depends_on_the_texts_alone() {
        let folder = tempfile::tempdir().unwrap();
        let texts = |numbers: &mut dyn Iterator<Item = usize>| {
            std::fs::write(folder.path().join("a.csv"), rows(numbers)).unwrap();
            let task = task(classes(), [&["a.csv"], &[], &[]], Some(0.2));
            let data = task.read(folder.path(), &ReadOptions::default()).unwrap();
            assert_eq!(data.train.len() + data.validation[0].len(), 1000);
            let held_out = data.validation[0].iter();
            let mut texts: Vec<String> = held_out.map(|it| it.text_a.to_owned()).collect();
            texts.sort();
            texts
        };
        let held_out = texts(&mut (0..1000));
        assert!((150..250).contains(&held_out.len()), "{}", held_out.len());
        assert_eq!(texts(&mut (0..1000).rev()), held_out);
        // In every version: a run of an earlier one is resumed with the same examples.
        let first = (0..20).map(|at| format!("text {at}"));
        let first: Vec<String> = first.filter(|text| held_out.contains(text)).collect();
        assert_eq!(first, ["text 0", "text 18"]);
    }

    #[test]
    fn limits_are_those_of_each_split_and_further_columns_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), rows(0..100)).unwrap();
        let options = ReadOptions {
            limit_train: Some(10),
            limit_eval: Some(3),
            columns: vec!["shop".to_owned()],
            ..ReadOptions::default()
        };
        let task = task(classes(), [&["a.csv"], &[], &[]], Some(0.5));
        let data = task.read(folder.path(), &options).unwrap();
        assert_eq!((data.train.len(), data.validation[0].len()), (10, 3));
        let shops = data.train.column("shop").unwrap();
        assert_eq!(shops.codes().len(), 10);
        let groups = LabelGroups::of(&task, &data.train);
        let shards = crate::data::partition::partition(
            &Partition::Classes(1),
            &groups.of_split(&data.train),
            None,
            2,
            1,
        );
        assert_eq!(shards.unwrap().concat().len(), 10);
    }

    #[test]
    fn answers_stay_with_their_prompt_and_a_test_split_needs_none() {
        let folder = tempfile::tempdir().unwrap();
        let lines = (0..200).map(|at| format!("{{\"q\": \"{}\", \"a\": \"{at}\"}}\n", at % 40));
        std::fs::write(folder.path().join("a.jsonl"), lines.collect::<String>()).unwrap();
        std::fs::write(folder.path().join("t.csv"), "q\nwhy\n").unwrap();
        let form = AnsweredForm::with_column("{q}?".parse().unwrap(), "a");
        let form = ExampleForm::Answered(form);
        let task = task(form, [&["a.jsonl"], &[], &["t.csv"]], Some(0.3));
        let data = task.read(folder.path(), &ReadOptions::default()).unwrap();
        let prompts = |split: &crate::data::split::Split| {
            let prompts = split.iter().map(|it| it.text_a.to_owned());
            prompts.collect::<std::collections::BTreeSet<String>>()
        };
        let (train, held_out) = (prompts(&data.train), prompts(&data.validation[0]));
        assert!(train.is_disjoint(&held_out) && train.len() + held_out.len() == 40);
        assert_eq!(
            data.train.example(0).text_b.unwrap().chars().next(),
            Some(' ')
        );
        let example = data.test[0].example(0);
        assert_eq!((example.text_a, example.text_b), ("why?", Some("")));
    }
}
