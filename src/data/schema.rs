//! What is known of a data set's files: the names of its splits, its columns, its labels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A data set's names, columns and labels, as its files have them.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Its name on the hub and in flags.
    pub name: &'static str,
    /// GLUE's own name: its folder and its submission file.
    pub glue_name: &'static str,
    /// The text columns on the hub.
    pub hub_texts: &'static [&'static str],
    /// The text columns in GLUE's TSV files.
    pub tsv_texts: &'static [&'static str],
    /// The label's column in GLUE's TSV files; on the hub it is always `label`.
    pub tsv_label: &'static str,
    /// The example number's column in GLUE's TSV files; on the hub it is always `idx`.
    pub tsv_index: &'static str,
    /// The columns of files without a header (CoLA's train and dev).
    pub headerless: Option<&'static [&'static str]>,
    /// The classes' names, in the order of the hub's ids; empty for regression.
    pub label_names: &'static [&'static str],
    /// Whether TSV files and submissions spell labels by name rather than by number.
    pub named_labels: bool,
    /// Whether lines with too few fields are known in the published files, to be skipped and
    /// counted rather than refused (QQP has two dozen).
    pub has_broken_lines: bool,
}

impl Schema {
    /// Whether an example has two texts.
    pub fn is_pair(&self) -> bool {
        self.hub_texts.len() == 2
    }

    /// Whether the label is a score rather than a class.
    pub fn is_regression(&self) -> bool {
        self.label_names.is_empty()
    }
}

/// The name of a split, as the hub spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitName {
    /// The split that clients train on.
    Train,
    /// Held-out data with labels.
    Validation,
    /// MNLI's, of the genres it trains on.
    ValidationMatched,
    /// MNLI's, of other genres.
    ValidationMismatched,
    /// What a submission predicts; its labels are usually secret.
    Test,
    /// MNLI's, of the genres it trains on.
    TestMatched,
    /// MNLI's, of other genres.
    TestMismatched,
}

impl SplitName {
    /// As the hub spells it; the beginning of the split's Parquet files.
    #[must_use]
    pub fn hub_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::ValidationMatched => "validation_matched",
            Self::ValidationMismatched => "validation_mismatched",
            Self::Test => "test",
            Self::TestMatched => "test_matched",
            Self::TestMismatched => "test_mismatched",
        }
    }

    /// The split's file in GLUE's own layout.
    #[must_use]
    pub fn tsv_name(self) -> &'static str {
        match self {
            Self::Train => "train.tsv",
            Self::Validation => "dev.tsv",
            Self::ValidationMatched => "dev_matched.tsv",
            Self::ValidationMismatched => "dev_mismatched.tsv",
            Self::Test => "test.tsv",
            Self::TestMatched => "test_matched.tsv",
            Self::TestMismatched => "test_mismatched.tsv",
        }
    }

    /// What a score's name ends with where a task has two evaluation splits: `_mm` for the
    /// mismatched ones, as transformers names them.
    #[must_use]
    pub fn score_suffix(self) -> &'static str {
        match self {
            Self::ValidationMismatched | Self::TestMismatched => "_mm",
            _ => "",
        }
    }

    /// Whether the split may lack labels.
    #[must_use]
    pub fn is_test(self) -> bool {
        matches!(self, Self::Test | Self::TestMatched | Self::TestMismatched)
    }
}

impl fmt::Display for SplitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.hub_name())
    }
}
