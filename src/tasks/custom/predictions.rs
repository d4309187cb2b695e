//! What a model predicts for the user's test files: `predictions/NAME-test.csv`, one record for
//! each example, by the user's own id, or by its row if there is none.

use std::collections::HashMap;
use std::path::Path;

use csv::Writer;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::tasks::custom::CustomTask;
use crate::tasks::custom::form::{ExampleForm, LabelNames, LabelRule, SetSpelling};
use crate::tasks::metrics::multilabel;
use crate::tasks::texts::WrittenText;

/// The name of the column of rows, which count from 1, where the user's file has no ids.
const ROW: &str = "row";

/// Writes a model's outputs for a split: the label as files spell it, its name where that is
/// another, and its probability; several labels with their separator between them, and the
/// probabilities of all in their order; or the score.
///
/// # Errors
/// If an output is not a number or the file cannot be written. An earlier file of that name then
/// stays as it was.
pub(crate) fn write(
    task: &CustomTask,
    outputs: &[f32],
    split: &Split,
    folder: &Path,
) -> Result<(), DataError> {
    let ExampleForm::Labelled(form) = &task.form else {
        return Ok(());
    };
    let width = match &form.rule {
        LabelRule::Class(labels) | LabelRule::Several { labels, .. } => labels.values.len(),
        LabelRule::Score => 1,
    };
    if let Some(at) = outputs.iter().position(|output| !output.is_finite()) {
        return Err(DataError::Prediction {
            task: task.name.clone(),
            row: at / width.max(1),
            found: outputs[at],
            expected: "finite numbers".to_owned(),
        });
    }
    let cells = |row: &[f32]| match &form.rule {
        LabelRule::Class(labels) => of_class(labels, row, is_named(labels)),
        LabelRule::Several { labels, spelling } => {
            let separator = match spelling {
                SetSpelling::Separated(separator) => separator,
                SetSpelling::Columns => "|",
            };
            of_set(labels, row, separator, is_named(labels))
        }
        LabelRule::Score => vec![row[0].to_string()],
    };
    let rows = outputs.chunks(width.max(1)).map(cells);
    write_rows(task, split, folder, rows)
}

/// The columns of predictions after that of the ids.
#[must_use]
pub fn columns(form: &ExampleForm) -> Vec<&'static str> {
    match form {
        ExampleForm::Labelled(form) => match &form.rule {
            LabelRule::Class(labels) if is_named(labels) => {
                vec!["prediction", "name", "probability"]
            }
            LabelRule::Class(_) => vec!["prediction", "probability"],
            LabelRule::Several { labels, .. } if is_named(labels) => {
                vec!["prediction", "names", "probabilities"]
            }
            LabelRule::Several { .. } => vec!["prediction", "probabilities"],
            LabelRule::Score => vec!["prediction"],
        },
        ExampleForm::Answered(_) => vec!["text"],
    }
}

/// Whether people read labels by other names than files spell.
fn is_named(labels: &LabelNames) -> bool {
    labels.values != labels.names
}

fn of_class(labels: &LabelNames, logits: &[f32], named: bool) -> Vec<String> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let best = logits.iter().position(|it| *it == most).unwrap_or(0);
    let shares = logits.iter().map(|it| f64::from(it - most).exp());
    let probability = 1.0 / shares.sum::<f64>();
    let mut cells = vec![labels.values[best].clone()];
    cells.extend(named.then(|| labels.names[best].clone()));
    cells.push(format!("{probability:.4}"));
    cells
}

fn of_set(labels: &LabelNames, logits: &[f32], separator: &str, named: bool) -> Vec<String> {
    let predicted = multilabel::predictions(logits);
    let joined = |all: &[String]| {
        let own = all.iter().zip(&predicted);
        let own = own.filter(|(_, has)| **has == 1.0);
        let own: Vec<&str> = own.map(|(label, _)| label.as_str()).collect();
        own.join(separator)
    };
    let mut cells = vec![joined(&labels.values)];
    cells.extend(named.then(|| joined(&labels.names)));
    let probability = |logit: &f32| format!("{:.4}", 1.0 / (1.0 + f64::from(-logit).exp()));
    let probabilities: Vec<String> = logits.iter().map(probability).collect();
    cells.push(probabilities.join(" "));
    cells
}

/// Writes the texts of a split's prompts, one record for each example.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_texts(
    task: &CustomTask,
    written: &[WrittenText],
    split: &Split,
    folder: &Path,
) -> Result<(), DataError> {
    let by_prompt: HashMap<&str, &str> = written
        .iter()
        .map(|it| (it.prompt.as_str(), it.text.as_str()))
        .collect();
    let rows = split.iter().map(|example| {
        let text = by_prompt.get(example.text_a).copied();
        vec![text.unwrap_or_default().to_owned()]
    });
    write_rows(task, split, folder, rows)
}

fn write_rows(
    task: &CustomTask,
    split: &Split,
    folder: &Path,
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), DataError> {
    let path = folder.join(format!("{}-{}.csv", task.name, split.name()));
    let wrong = |error: csv::Error| FileError::content(&path, error.to_string());
    let mut writer = Writer::from_writer(Vec::new());
    let id = task.id.as_deref().unwrap_or(ROW);
    let header = std::iter::once(id).chain(columns(&task.form));
    writer.write_record(header).map_err(wrong)?;
    for (at, row) in rows.enumerate() {
        let own = split.own_id(at).map(str::to_owned);
        let id = own.unwrap_or_else(|| (at + 1).to_string());
        let record = std::iter::once(id).chain(row);
        writer.write_record(record).map_err(wrong)?;
    }
    let bytes = writer.into_inner();
    let bytes = bytes.map_err(|error| FileError::content(&path, error.to_string()))?;
    files::make_folder(folder)?;
    Ok(files::write_atomically(&path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_spelled_as_in_the_files_with_its_probability() {
        let labels = LabelNames {
            values: vec!["0".into(), "1".into()],
            names: vec!["bad".into(), "good".into()],
        };
        assert_eq!(of_class(&labels, &[0.0, 0.0], false), ["0", "0.5000"]);
        let logits = [0.0, 3_f32.ln()];
        assert_eq!(of_class(&labels, &logits, true), ["1", "good", "0.7500"]);
        let logits = [3_f32.ln(), 2.0];
        let expected = ["0|1", "bad|good", "0.7500 0.8808"];
        assert_eq!(of_set(&labels, &logits, "|", true), expected);
        let expected = ["", "0.2689 0.1192"];
        assert_eq!(of_set(&labels, &[-1.0, -2.0], "|", false), expected);
    }
}
