//! Places in data files.

use std::path::PathBuf;

/// A place in a data file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceSpan {
    /// The file.
    pub path: PathBuf,
    /// The line of a file of text in which the record begins, or the row of a Parquet file, from 1.
    pub line: usize,
}

impl std::fmt::Display for SourceSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}
