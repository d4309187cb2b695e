//! Files of JSON values, one a line, as a run leaves them and as a crash may leave them.
//!
//! A file is read as bytes, since it may end anywhere, inside a character too. A last line that is
//! cut off, and blanks or NUL bytes after the last line, are what a kill, a full disk or a power
//! cut leaves: they do not count. A damaged line with anything after it is an error that names
//! file and line. No more than one line is in memory, and no line of more than [`LONGEST`] bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::protocol::outcome::RecordError;

/// The longest line that is read, in bytes. A round of a thousand clients takes some 200 kB.
pub const LONGEST: u64 = 256 << 20;

/// The mark that some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The values of a file, in order.
///
/// # Errors
/// If the file cannot be opened, at once; when it cannot be read or a line that is not the last
/// is damaged, as the last item.
pub fn read<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<T, RecordError>> + use<T>, RecordError> {
    let mut lines = JsonLines::open(path)?;
    Ok(std::iter::from_fn(move || {
        lines.next_with(|line| serde_json::from_slice(line))
    }))
}

/// Reads such a file line by line.
#[derive(Debug)]
pub(crate) struct JsonLines {
    path: PathBuf,
    reader: BufReader<File>,
    longest: u64,
    /// The current line's number, from 1.
    number: u64,
    line: Vec<u8>,
    /// Nothing more can be read.
    over: bool,
}

impl JsonLines {
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(|e| RecordError::file(path, "read", e))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(file),
            longest: LONGEST,
            number: 0,
            line: Vec::new(),
            over: false,
        })
    }

    /// What `parse` makes of the next line, which it gets without its end; `None` after the last
    /// one. A line that `parse` refuses is a damaged one.
    pub fn next_with<T, E: ToString>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Option<Result<T, RecordError>> {
        if self.over {
            return None;
        }
        let result = self.advance().and_then(|there| match there {
            Advance::End => Ok(None),
            Advance::TooLong => self.damaged(format!("it has over {} bytes", self.longest)),
            Advance::Line => {
                let mark = if self.number == 1 {
                    BYTE_ORDER_MARK
                } else {
                    b""
                };
                let line = self.line.strip_prefix(mark).unwrap_or(&self.line);
                match parse(line.trim_ascii_end()) {
                    Ok(value) => Ok(Some(value)),
                    Err(error) => self.damaged(error.to_string()),
                }
            }
        });
        self.over = !matches!(result, Ok(Some(_)));
        result.transpose()
    }

    /// An error about the current line.
    pub fn wrong(&self, reason: impl ToString) -> RecordError {
        let doing = format!("understand line {} of", self.number);
        RecordError::file(&self.path, &doing, reason)
    }

    fn advance(&mut self) -> Result<Advance, RecordError> {
        self.number += 1;
        self.line.clear();
        let mut limited = (&mut self.reader).take(self.longest + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        let length = read.map_err(|e| RecordError::file(&self.path, "read", e))? as u64;
        if length <= self.longest || self.line.ends_with(b"\n") {
            return Ok(if length == 0 {
                Advance::End
            } else {
                Advance::Line
            });
        }
        skip_line(&mut self.reader).map_err(|e| RecordError::file(&self.path, "read", e))?;
        Ok(Advance::TooLong)
    }

    /// The current line cannot be understood: the end of the file, or an error. A last line that is
    /// whole is one, too: it is not what a crash leaves.
    fn damaged<T>(&mut self, reason: String) -> Result<Option<T>, RecordError> {
        let whole = serde_json::from_slice::<IgnoredAny>(&self.line).is_ok();
        let last = is_blank(&mut self.reader);
        if whole || !last.map_err(|e| RecordError::file(&self.path, "read", e))? {
            return Err(self.wrong(reason));
        }
        if !self.line.iter().all(|byte| blank(*byte)) {
            let (number, path) = (self.number, self.path.display());
            // The last line of a running run, too, may still be incomplete.
            tracing::debug!("line {number} of {path}, the last, is truncated and ignored");
        }
        Ok(None)
    }
}

/// The result of reading a line.
enum Advance {
    Line,
    TooLong,
    End,
}

/// Whether this is a blank, or what a power cut leaves where data were to be.
fn blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

/// Whether there are blanks only from here on.
fn is_blank(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let chunk = reader.fill_buf()?;
        let (length, all) = (chunk.len(), chunk.iter().all(|byte| blank(*byte)));
        if length == 0 || !all {
            return Ok(all);
        }
        reader.consume(length);
    }
}

/// Continues after the current line.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = reader.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(length);
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
