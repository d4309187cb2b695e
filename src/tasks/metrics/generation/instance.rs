//! What is scored.

/// A generated text, and the texts that it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What was generated.
    pub output: String,
    /// At least one right answer.
    pub references: Vec<String>,
}
