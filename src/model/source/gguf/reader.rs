//! Numbers and strings from the head of a file that may be cut short, damaged or hostile.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::source::gguf::error::GgufError;

/// The most bytes before the weights. The largest vocabularies need a tenth of that.
const MOST_BYTES: u64 = 1 << 28;

/// Reads little-endian values and keeps count of its position. Nothing is allocated for a length
/// that exceeds the file.
#[derive(Debug)]
pub(crate) struct HeaderReader<R> {
    input: R,
    path: PathBuf,
    at: u64,
    file_size: u64,
}

impl<R: Read> HeaderReader<R> {
    pub fn new(input: R, path: &Path, file_size: u64) -> Self {
        Self {
            input,
            path: path.to_owned(),
            at: 0,
            file_size,
        }
    }

    /// The position, in bytes from the start.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The size of the file, in bytes.
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error at a place.
    pub fn wrong(&self, at: u64, reason: impl Into<String>) -> GgufError {
        GgufError::Format {
            path: self.path.clone(),
            at,
            reason: reason.into(),
        }
    }

    /// Checks that the file, and the most bytes before the weights, allow for `length` more bytes.
    fn need(&self, length: u64, what: &str) -> Result<(), GgufError> {
        let end = self.at.saturating_add(length);
        if end > self.file_size {
            return Err(self.wrong(
                self.at,
                format!(
                    "{what} of {length} bytes does not fit: the file ends at byte {}; it was cut \
                     short or is damaged, so fetch it again",
                    self.file_size
                ),
            ));
        }
        if end > MOST_BYTES {
            let reason = format!(
                "{what} of {length} bytes makes the metadata longer than {MOST_BYTES} bytes; no \
                 model needs that, so the file is damaged"
            );
            return Err(self.wrong(self.at, reason));
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<(), GgufError> {
        self.need(bytes.len() as u64, what)?;
        let read = self.input.read_exact(bytes);
        read.map_err(|source| GgufError::Io {
            path: self.path.clone(),
            source,
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The next bytes.
    ///
    /// # Errors
    /// If the file ends before; `what` names them in the error.
    pub fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// An unsigned number of four bytes. Errors as [`Self::bytes`].
    pub fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    /// An unsigned number of eight bytes. Errors as [`Self::bytes`].
    pub fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    /// A string: its length in eight bytes, and UTF-8.
    ///
    /// # Errors
    /// If the file ends before, or the string is not UTF-8.
    pub fn string(&mut self, what: &str) -> Result<String, GgufError> {
        let length = self.u64(&format!("the length of {what}"))?;
        self.need(length, what)?;
        let start = self.at;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, what)?;
        String::from_utf8(bytes)
            .map_err(|error| self.wrong(start, format!("{what} is not UTF-8: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> HeaderReader<&[u8]> {
        HeaderReader::new(bytes, Path::new("a.gguf"), bytes.len() as u64)
    }

    #[test]
    fn numbers_are_little_endian_and_the_place_is_known() {
        let mut reader = reader(&[1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.u32("a number").unwrap(), 0x201);
        assert_eq!(reader.position(), 4);
        assert_eq!(reader.u64("a number").unwrap(), 3);
        let error = reader.u32("a count").unwrap_err().to_string();
        assert!(
            error.starts_with("a.gguf: at byte 12: a count of 4 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_string_that_is_longer_than_the_file_is_refused_before_it_has_memory() {
        for length in [9, u64::MAX, 1 << 40] {
            let bytes = [&length.to_le_bytes()[..], b"12345678"].concat();
            let error = reader(&bytes).string("a key").unwrap_err().to_string();
            assert!(error.contains("the file ends at byte 16"), "{error}");
        }
    }

    #[test]
    fn metadata_that_no_model_needs_is_refused_before_it_has_memory() {
        let bytes = MOST_BYTES.to_le_bytes();
        let mut reader = HeaderReader::new(&bytes[..], Path::new("a.gguf"), u64::MAX);
        let error = reader.string("a key").unwrap_err().to_string();
        assert!(error.contains("longer than 268435456 bytes"), "{error}");
    }

    #[test]
    fn a_string_that_is_not_utf8_is_refused_with_its_place() {
        let bytes = [&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat();
        let error = reader(&bytes).string("a key").unwrap_err().to_string();
        assert!(
            error.starts_with("a.gguf: at byte 8: a key is not UTF-8"),
            "{error}"
        );
    }
}
