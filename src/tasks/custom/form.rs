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
        /// How a file has them.
        spelling: SetSpelling,
    },
    /// A finite number.
    Score,
}

/// How a file has several labels.
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
    /// The number of the label with this spelling.
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
    /// The form with an answer that is a column's text. A space before it belongs to the answer,
    /// since tokenizers of language models join a space to the word after it; after a prompt that
    /// ends with a line end there is none.
    #[must_use]
    pub fn with_column(mut prompt: ColumnTemplate, column: &str) -> Self {
        let mut answer = ColumnTemplate::column(column);
        if prompt.take_trailing_spaces() || !prompt.ends_line() {
            answer.put_before(" ");
        }
        Self { prompt, answer }
    }
}
