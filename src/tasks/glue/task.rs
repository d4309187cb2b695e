//! The nine tasks: their names, splits, columns, labels, metrics and submission files.
//!
//! Everything that tells one task from another is a row of the table in `spec.rs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::error::DataError;
use crate::data::schema::{Schema, SplitName};
use crate::tasks::Task;
use crate::tasks::glue::spec::SPECS;
use crate::tasks::metrics::info::MetricInfo;

/// A GLUE task (Wang et al., 2019).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum GlueTask {
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

impl GlueTask {
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

    /// Its metrics, the primary one first.
    pub(crate) fn metric_rows(self) -> &'static [MetricInfo] {
        const ACCURACY: MetricInfo = MetricInfo::higher("accuracy");
        match self {
            Self::Cola => &const { [MetricInfo::higher("matthews")] },
            Self::Mrpc | Self::Qqp => &const { [MetricInfo::higher("f1"), ACCURACY] },
            Self::Stsb => {
                &const {
                    [
                        MetricInfo::higher("pearson"),
                        MetricInfo::higher("spearman"),
                    ]
                }
            }
            _ => &[ACCURACY],
        }
    }
}

impl fmt::Display for GlueTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for GlueTask {
    type Err = DataError;

    /// Takes either spelling (`sst2`, `SST-2`), in any case.
    fn from_str(text: &str) -> Result<Self, DataError> {
        Self::ALL
            .into_iter()
            .find(|task| Task::is_called(task, text))
            .ok_or_else(|| DataError::UnknownTask {
                found: text.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

impl TryFrom<String> for GlueTask {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<GlueTask> for &'static str {
    fn from(task: GlueTask) -> Self {
        task.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_a_task_and_the_specs_are_in_order() {
        for task in GlueTask::ALL {
            assert_eq!(task.name().parse::<GlueTask>().unwrap(), task);
            assert_eq!(
                task.glue_name().to_lowercase().parse::<GlueTask>().unwrap(),
                task
            );
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{}\"", task.name()));
            assert_eq!(serde_json::from_str::<GlueTask>(&json).unwrap(), task);
        }
        assert_eq!("sst-2".parse::<GlueTask>().unwrap(), GlueTask::Sst2);
        assert_eq!("sts-b".parse::<GlueTask>().unwrap(), GlueTask::Stsb);
    }

    #[test]
    fn an_unknown_task_is_refused_with_the_names_there_are() {
        let message = "imdb".parse::<GlueTask>().unwrap_err().to_string();
        assert!(
            message.contains("`imdb`") && message.contains("wnli"),
            "{message}"
        );
    }

    #[test]
    fn mnli_has_three_classes_stsb_one_output() {
        assert_eq!(GlueTask::Mnli.num_labels(), 3);
        assert_eq!(GlueTask::Stsb.num_labels(), 1);
        assert_eq!(GlueTask::Mnli.validation_splits().len(), 2);
    }
}
