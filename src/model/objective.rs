//! What a model is trained to give.

/// What a model is trained to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objective {
    /// One of these classes, by name in the order of their numbers.
    Classes(Vec<String>),
    /// A score.
    Score,
    /// The token that comes next.
    NextToken,
}

impl Objective {
    /// Outputs of a head that is put on the model: one for each class, or one for a score. A
    /// language model has none to put on.
    #[must_use]
    pub fn outputs(&self) -> i64 {
        match self {
            Self::Classes(names) => names.len() as i64,
            Self::Score => 1,
            Self::NextToken => 0,
        }
    }

    /// N classes that are named by their numbers.
    #[must_use]
    pub fn classes(n: usize) -> Self {
        Self::Classes((0..n).map(|class| class.to_string()).collect())
    }
}
