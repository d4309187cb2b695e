//! What a model is trained to give.

use crate::model::ModelError;

/// What a model is trained to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objective {
    /// One of these classes, by name in the order of their numbers.
    Classes(Vec<String>),
    /// Any number of these labels, by name in the order of their numbers.
    Multilabel(Vec<String>),
    /// A score.
    Score,
    /// The token that comes next.
    NextToken,
}

impl Objective {
    /// Outputs of a head that is put on the model: one for each class or label, or one for a score. A
    /// language model has none to put on.
    #[must_use]
    pub fn outputs(&self) -> i64 {
        match self {
            Self::Classes(names) | Self::Multilabel(names) => names.len() as i64,
            Self::Score => 1,
            Self::NextToken => 0,
        }
    }

    /// Refuses what a language model of this name cannot be trained to give.
    ///
    /// # Errors
    /// If it is not the next token.
    pub(crate) fn require_next_token(&self, model: &str) -> Result<(), ModelError> {
        match self {
            Self::NextToken => Ok(()),
            Self::Classes(_) | Self::Multilabel(_) | Self::Score => {
                Err(ModelError::Refused(format!(
                    "a {model} gives the next token and has no head for classes or scores; name an \
                 encoder, such as a RoBERTa"
                )))
            }
        }
    }

    /// N classes that are named by their numbers.
    #[must_use]
    pub fn classes(n: usize) -> Self {
        Self::Classes((0..n).map(|class| class.to_string()).collect())
    }
}
