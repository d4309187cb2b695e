//! What is wrong with a file, and with which.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error with a file or folder.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refuses it.
    #[error("cannot {action} {}: {source}", path.display())]
    Access {
        /// What was to be done.
        action: FileAction,
        /// The file or folder.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// It holds something other than it should.
    #[error("{}{}: {reason}", path.display(), LineSuffix(*line))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where the problem is in one.
        line: Option<usize>,
        /// The problem and the expected content.
        reason: String,
    },
}

/// What is done with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// Opened and read.
    Read,
    /// Created or replaced.
    Write,
    /// Made, as a folder.
    Make,
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Make => "make the folder",
        })
    }
}

impl FileError {
    /// Wraps the error of reading a file.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::access(FileAction::Read, path)
    }

    /// Wraps the error of writing a file.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::access(FileAction::Write, path)
    }

    /// Wraps the error of making a folder.
    pub fn make(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::access(FileAction::Make, path)
    }

    fn access(action: FileAction, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Access {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// A problem with a file's content.
    pub fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            line: None,
            reason: reason.into(),
        }
    }
}

/// With the same text, for functions that also fail in other ways of the operating system's.
impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::Access { source, .. } => source.kind(),
            FileError::Content { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// `:12`, or nothing.
struct LineSuffix(Option<usize>);

impl fmt::Display for LineSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_the_line_and_the_problem() {
        let path = Path::new("runs/a.tsv");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let access = FileError::write(path)(denied());
        assert_eq!(
            access.to_string(),
            "cannot write runs/a.tsv: permission denied"
        );
        assert_eq!(io::Error::from(access).kind(), denied().kind());
        let content = FileError::content(path, "not a table");
        assert_eq!(content.to_string(), "runs/a.tsv: not a table");
        let in_line = FileError::Content {
            path: path.to_owned(),
            line: Some(3),
            reason: "too short".into(),
        };
        assert_eq!(in_line.to_string(), "runs/a.tsv:3: too short");
    }
}
