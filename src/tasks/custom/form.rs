//! What an example is made of: which columns are its texts, its label and its answer.

use crate::tasks::custom::template::ColumnTemplate;

/// What an example is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum ExampleForm {
    /// A text, or two, and a label.
    Labelled(LabelledForm),
    /// A prompt and its answer.
    Answered(AnsweredForm),
}

/// A text, or two, and a label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledForm {
    /// The column of the text.
    pub text: String,
    /// The column of the second text of a pair.
    pub text2: Option<String>,
    /// The columns of the label: one, or one for each label that an example may have.
    pub label: Vec<String>,
    /// How labels are spelled.
    pub rule: LabelRule,
}

/// How labels are spelled.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelRule {
    /// One of these.
    Class(LabelNames),
    /// Any number of these.
    Several {
        /// The labels.
        labels: LabelNames,
        /// How they stand in a file.
        spelling: SetSpelling,
    },
    /// A finite number.
    Score,
}

/// How several labels stand in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetSpelling {
    /// In one cell: a list, or text with this between them.
    Separated(String),
    /// In a column for each label, which holds 0 or 1.
    Columns,
}

/// Labels in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelNames {
    /// As files spell them.
    pub values: Vec<String>,
    /// As people read them.
    pub names: Vec<String>,
}

/// A prompt and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredForm {
    /// What a model reads.
    pub prompt: ColumnTemplate,
    /// What it is to write, the space before it included.
    pub answer: ColumnTemplate,
}

impl LabelNames {
    /// The number of a label that a file spells so.
    #[must_use]
    pub fn position(&self, spelled: &str) -> Option<usize> {
        self.values.iter().position(|value| value == spelled)
    }

    /// The labels in words, for messages.
    #[must_use]
    pub fn listed(&self) -> String {
        const MOST: usize = 20;
        let mut shown: Vec<String> = self.values.iter().take(MOST).cloned().collect();
        if self.values.len() > MOST {
            shown.push(format!("{} more", self.values.len() - MOST));
        }
        shown.join(", ")
    }
}

impl AnsweredForm {
    /// The form with an answer that is a column's text. It follows the prompt after a space, which
    /// is part of the answer, as language models read it; after a prompt that ends with a line end
    /// it follows at once.
    #[must_use]
    pub fn with_column(mut prompt: ColumnTemplate, column: &str) -> Self {
        let mut answer = ColumnTemplate::column(column);
        if prompt.take_trailing_spaces() || !prompt.ends_line() {
            answer.put_before(" ");
        }
        Self { prompt, answer }
    }
}
