//! The nine tasks: their names, splits, columns, labels, metrics and submission files.
//!
//! Everything that tells one task from another is a row of the table in `spec.rs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::error::DataError;
use crate::data::schema::{Schema, SplitName};
use crate::model::objective::Objective;
use crate::tasks::glue::spec::SPECS;

/// A GLUE task (Wang et al., 2019).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Task {
    /// Corpus of Linguistic Acceptability: is the sentence grammatical?
    Cola,
    /// Stanford Sentiment Treebank: is the sentence positive?
    Sst2,
    /// Microsoft Research Paraphrase Corpus: do the sentences mean the same?
    Mrpc,
    /// Semantic Textual Similarity Benchmark: how alike are they, from 0 to 5?
    Stsb,
    /// Quora Question Pairs: do the questions ask the same?
    Qqp,
    /// Multi-Genre NLI, with matched and mismatched evaluation splits.
    Mnli,
    /// Question NLI: does the sentence answer the question?
    Qnli,
    /// Recognizing Textual Entailment.
    Rte,
    /// Winograd NLI.
    Wnli,
}

impl Task {
    /// All tasks, in the order of the enum.
    pub const ALL: [Self; 9] = [
        Self::Cola,
        Self::Sst2,
        Self::Mrpc,
        Self::Stsb,
        Self::Qqp,
        Self::Mnli,
        Self::Qnli,
        Self::Rte,
        Self::Wnli,
    ];

    pub(crate) fn spec(self) -> &'static Schema {
        &SPECS[self as usize]
    }

    /// The name as flags and the hub spell it, `sst2` say.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The folder's name in GLUE's own layout, `SST-2` say.
    #[must_use]
    pub fn glue_name(self) -> &'static str {
        self.spec().glue_name
    }

    /// Outputs of the classification head: the number of classes, or 1 for regression.
    #[must_use]
    pub fn num_labels(self) -> usize {
        if self.is_regression() {
            1
        } else {
            self.spec().label_names.len()
        }
    }

    /// Whether the label is a score rather than a class (STS-B).
    #[must_use]
    pub fn is_regression(self) -> bool {
        self.spec().is_regression()
    }

    /// The classes' names, in the order of the hub's label ids; empty for regression.
    #[must_use]
    pub fn label_names(self) -> &'static [&'static str] {
        self.spec().label_names
    }

    /// What a model is trained to give for it.
    #[must_use]
    pub fn objective(self) -> Objective {
        match self.label_names() {
            [] => Objective::Score,
            names => Objective::Classes(names.iter().map(|&name| name.to_owned()).collect()),
        }
    }

    /// Whether an example has two texts.
    #[must_use]
    pub fn is_pair(self) -> bool {
        self.spec().is_pair()
    }

    /// The splits that the model is evaluated on.
    #[must_use]
    pub fn validation_splits(self) -> &'static [SplitName] {
        match self {
            Self::Mnli => &[
                SplitName::ValidationMatched,
                SplitName::ValidationMismatched,
            ],
            _ => &[SplitName::Validation],
        }
    }

    /// The splits that a submission holds predictions for.
    #[must_use]
    pub fn test_splits(self) -> &'static [SplitName] {
        match self {
            Self::Mnli => &[SplitName::TestMatched, SplitName::TestMismatched],
            _ => &[SplitName::Test],
        }
    }

    /// The names of the task's metrics, the primary one first.
    #[must_use]
    pub fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Cola => &["matthews"],
            Self::Mrpc | Self::Qqp => &["f1", "accuracy"],
            Self::Stsb => &["pearson", "spearman"],
            _ => &["accuracy"],
        }
    }

    /// The metric that the best round is chosen by. Higher is better for all of them.
    #[must_use]
    pub fn primary_metric(self) -> &'static str {
        self.metrics()[0]
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = DataError;

    /// Takes either spelling (`sst2`, `SST-2`), in any case.
    fn from_str(text: &str) -> Result<Self, DataError> {
        Self::ALL
            .into_iter()
            .find(|task| {
                text.eq_ignore_ascii_case(task.name())
                    || text.eq_ignore_ascii_case(task.glue_name())
            })
            .ok_or_else(|| DataError::UnknownTask {
                found: text.to_owned(),
            })
    }
}

impl TryFrom<String> for Task {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<Task> for &'static str {
    fn from(task: Task) -> Self {
        task.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_a_task_and_the_specs_are_in_order() {
        for task in Task::ALL {
            assert_eq!(task.name().parse::<Task>().unwrap(), task);
            assert_eq!(
                task.glue_name().to_lowercase().parse::<Task>().unwrap(),
                task
            );
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{}\"", task.name()));
            assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
        }
        assert_eq!("sst-2".parse::<Task>().unwrap(), Task::Sst2);
        assert_eq!("sts-b".parse::<Task>().unwrap(), Task::Stsb);
    }

    #[test]
    fn an_unknown_task_is_refused_with_the_names_there_are() {
        let message = "imdb".parse::<Task>().unwrap_err().to_string();
        assert!(
            message.contains("`imdb`") && message.contains("wnli"),
            "{message}"
        );
    }

    #[test]
    fn mnli_has_three_classes_stsb_one_output() {
        assert_eq!(Task::Mnli.num_labels(), 3);
        assert_eq!(Task::Stsb.num_labels(), 1);
        assert_eq!(Task::Mnli.validation_splits().len(), 2);
    }
}
