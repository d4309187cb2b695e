//! Tasks on files of the user's own, as a `[task]` table describes them.
//!
//! * [`form`]: which columns are texts, labels and answers, and how labels are spelled.
//! * [`template`]: prompts made of columns.
//! * [`labels`]: labels of a cell, and those that a column has.
//! * [`source`]: the files, read into splits, by way of `example`, which makes an example of a
//!   record, and `filling`, which knows a split as a whole.
//! * [`metrics`]: the metrics of each kind.
//! * [`predictions`]: what is predicted, by the user's own ids.

pub(crate) mod example;
pub(crate) mod filling;
pub mod form;
pub mod labels;
pub mod metrics;
pub mod predictions;
pub mod source;
pub mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::hub_error::HubError;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::model::generate::BeamSearch;
use crate::model::objective::Objective;
use crate::tasks::custom::form::{ExampleForm, LabelRule};
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::metrics::{classification, multilabel};
use crate::tasks::texts::{TextDefaults, WrittenText};
use crate::tasks::{LabelTask, Outputs, ReadOptions, Task, TaskData, TextTask, texts};

/// A task on the user's own files.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTask {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: SplitFiles,
    /// The share of the training examples that is held out for validation, by the hash of an
    /// example's text; `None`: validation has files of its own.
    pub holdout: Option<f64>,
    /// The column of the user's own ids.
    pub id: Option<String>,
    /// What an example is made of.
    pub form: ExampleForm,
    /// Its metrics, the one that the best round is chosen by first.
    pub metrics: Vec<MetricInfo>,
}

/// The files of each split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitFiles {
    /// What clients train on.
    pub train: Vec<PathBuf>,
    /// What the model is scored on.
    pub validation: Vec<PathBuf>,
    /// What is predicted at the end.
    pub test: Vec<PathBuf>,
}

impl CustomTask {
    /// Whether an example has a label, rather than an answer.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        matches!(self.form, ExampleForm::Labelled(_))
    }

    /// Whether an example has a second text or an answer.
    #[must_use]
    pub fn has_second_text(&self) -> bool {
        match &self.form {
            ExampleForm::Labelled(form) => form.text2.is_some(),
            ExampleForm::Answered(_) => true,
        }
    }

    /// How many labels there are, if an example may have any number of them; `None`: it has one
    /// label, or an answer.
    #[must_use]
    pub fn num_set_labels(&self) -> Option<usize> {
        match self.objective() {
            Objective::Multilabel(names) => Some(names.len()),
            _ => None,
        }
    }
}

impl Task for CustomTask {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    fn objective(&self) -> Objective {
        match &self.form {
            ExampleForm::Labelled(form) => match &form.rule {
                LabelRule::Class(labels) => Objective::Classes(labels.names.clone()),
                LabelRule::Several { labels, .. } => Objective::Multilabel(labels.names.clone()),
                LabelRule::Score => Objective::Score,
            },
            ExampleForm::Answered(_) => Objective::NextToken,
        }
    }

    fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    /// The files may be in any folder.
    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError> {
        Ok(dir.to_owned())
    }

    fn is_on_hub(&self) -> bool {
        false
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        Err(HubError::Fetch {
            repo: self.name.clone(),
            message: "the task's files are the user's own; name their folder with --data, or none"
                .to_owned(),
        })
    }

    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        source::read(self, dir, options)
    }

    /// As other tasks do, and also by the user's own ids.
    fn write_texts(
        &self,
        written: &[WrittenText],
        split: &Split,
        folder: &Path,
    ) -> Result<(), DataError> {
        texts::write(written, &self.name, split.name(), folder)?;
        predictions::write_texts(self, written, split, folder)
    }

    fn outputs(&self) -> Outputs<'_> {
        match &self.form {
            ExampleForm::Labelled(_) => Outputs::Labels(self),
            ExampleForm::Answered(_) => Outputs::Texts(self),
        }
    }
}

impl LabelTask for CustomTask {
    /// A model that gives NaN predicts no label: its scores are NaN.
    fn score(&self, outputs: &[f32], labels: &[f32]) -> BTreeMap<String, f64> {
        let objective = self.objective();
        let is_nan = outputs.iter().any(|output| output.is_nan());
        let value = |metric: &MetricInfo| match &objective {
            _ if is_nan => f64::NAN,
            Objective::Multilabel(names) => {
                let predictions = multilabel::predictions(outputs);
                multilabel::score(metric.name, &predictions, labels, names.len())
            }
            objective => {
                let predictions = classification::predictions(objective, outputs);
                classification::score(metric.name, &predictions, labels)
            }
        };
        let scored = self.metrics.iter();
        scored
            .map(|metric| (metric.name.to_owned(), value(metric)))
            .collect()
    }

    fn write_predictions(
        &self,
        outputs: &[f32],
        split: &Split,
        folder: &Path,
    ) -> Result<(), DataError> {
        predictions::write(self, outputs, split, folder)
    }
}

impl TextTask for CustomTask {
    /// Greedily, since answers may be of any kind.
    fn defaults(&self) -> TextDefaults {
        TextDefaults {
            search: BeamSearch {
                width: 1,
                length_penalty: 1.0,
                no_repeat_ngram: 0,
            },
            max_new_tokens: 64,
        }
    }

    /// The prompt with the text as its column, if it has only one; otherwise the text is the
    /// prompt.
    fn prompt(&self, text: &str) -> String {
        match &self.form {
            ExampleForm::Answered(form) => form.prompt.fill_one(text),
            ExampleForm::Labelled(_) => text.to_owned(),
        }
    }

    fn score(&self, written: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
        texts::score(written, meteor)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tasks::SharedTask;
    use crate::tasks::custom::form::{LabelNames, LabelledForm};

    fn with_labels(labels: &[&str]) -> SharedTask {
        let values: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let form = LabelledForm {
            text: "text".to_owned(),
            text2: None,
            label: vec!["label".to_owned()],
            rule: LabelRule::Class(LabelNames {
                names: values.clone(),
                values,
            }),
        };
        SharedTask(Arc::new(CustomTask {
            name: "train".to_owned(),
            files: SplitFiles::default(),
            holdout: None,
            id: None,
            form: ExampleForm::Labelled(form),
            metrics: Vec::new(),
        }))
    }

    #[test]
    fn two_tasks_that_are_named_after_their_files_are_equal_if_their_labels_are() {
        let task = with_labels(&["no", "yes"]);
        assert_eq!(task, with_labels(&["no", "yes"]));
        assert_ne!(task, with_labels(&["no", "perhaps", "yes"]));
    }
}
