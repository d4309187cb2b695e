//! Predictions as GLUE's server takes them: `index<tab>prediction`, one file a test split.

use std::path::{Path, PathBuf};

use crate::base::files;
use crate::data::error::DataError;
use crate::data::label;
use crate::data::schema::SplitName;
use crate::tasks::glue::task::GlueTask;

/// The file of a test split in a submission: `RTE.tsv`, `MNLI-m.tsv`, `MNLI-mm.tsv`, …
#[must_use]
pub fn file_name(task: GlueTask, split: SplitName) -> String {
    let part = match split {
        SplitName::TestMatched | SplitName::ValidationMatched => "-m",
        SplitName::TestMismatched | SplitName::ValidationMismatched => "-mm",
        _ => "",
    };
    format!("{}{part}.tsv", task.glue_name())
}

/// Writes a split's predictions into a folder, and returns the file's path.
///
/// `ids` and `predictions` run in parallel; the predictions are what
/// [`metrics::predictions`](crate::tasks::metrics::classification::predictions) gives. Scores are
/// clipped to 0…5 and written with three decimals; classes by name where the task's own files do
/// so.
///
/// # Errors
/// If a prediction is not a label of the task (such as NaN) or the file cannot be written. An
/// earlier file of that name then stays as it was.
///
/// # Panics
/// If the two differ in length.
pub fn write_submission(
    task: GlueTask,
    split: SplitName,
    ids: &[u32],
    predictions: &[f32],
    folder: &Path,
) -> Result<PathBuf, DataError> {
    assert_eq!(
        ids.len(),
        predictions.len(),
        "as many predictions as examples"
    );
    let path = folder.join(file_name(task, split));
    let mut text = String::from("index\tprediction\n");
    for (row, (id, prediction)) in ids.iter().zip(predictions).enumerate() {
        let spelled = spell(task, *prediction).ok_or_else(|| DataError::Prediction {
            task: task.name().to_owned(),
            row,
            found: *prediction,
            expected: label::expectation(task.spec(), false),
        })?;
        text.push_str(&format!("{id}\t{spelled}\n"));
    }
    files::make_folder(folder)?;
    files::write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

fn spell(task: GlueTask, prediction: f32) -> Option<String> {
    if task.is_regression() {
        return (!prediction.is_nan()).then(|| format!("{:.3}", prediction.clamp(0.0, 5.0) + 0.0));
    }
    label::is_valid(task.spec(), prediction.into())
        .then(|| label::spelling(task.spec(), prediction as usize))
}
