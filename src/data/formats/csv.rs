//! Comma-separated values (RFC 4180): a header, then a record a line; a field in quotation marks may
//! hold commas, quotation marks (doubled) and line ends.

use std::path::{Path, PathBuf};

use csv::{ErrorKind, Position, Reader, ReaderBuilder, StringRecord};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::{DataError, SourceSpan, listed};
use crate::data::formats::quoting::{self, Misquoted};

/// A file of records, read whole.
#[derive(Debug)]
pub(crate) struct CsvFile {
    path: PathBuf,
    header: Vec<String>,
    records: Vec<(usize, StringRecord)>,
}

impl CsvFile {
    /// Reads a file, or its first records.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, has records of other lengths than its header's, or
    /// quotation marks that are not closed or are within a field.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self, DataError> {
        let bytes = files::read(path)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = ReaderBuilder::new().from_reader(text);
        let table = table(&mut reader, limit);
        let read = text.get(..reader.position().byte() as usize);
        quoting::check(read.unwrap_or(text)).map_err(|wrong| misquoted(path, wrong))?;
        let (header, records) = table.map_err(|TableError { error, header }| {
            content(
                path,
                &error,
                error.position().map(|at| line(text, at)),
                &header,
            )
        })?;
        let place =
            |record: StringRecord| (record.position().map_or(0, |at| line(text, at)), record);
        Ok(Self {
            path: path.to_owned(),
            header,
            records: records.into_iter().map(place).collect(),
        })
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The position of a column that has one of these names, in any case.
    ///
    /// # Errors
    /// If there is none: the first of the names, and the columns that there are.
    pub fn column(&self, names: &[&str]) -> Result<usize, DataError> {
        let is_named =
            |column: &&String| names.iter().any(|name| name.eq_ignore_ascii_case(column));
        let found = self.header.iter().position(|column| is_named(&column));
        found.ok_or_else(|| DataError::MissingColumn {
            path: self.path.clone(),
            column: names.first().copied().unwrap_or_default().to_owned(),
            available: self.header.clone(),
        })
    }

    /// Each record with its place.
    pub fn records(&self) -> impl Iterator<Item = (SourceSpan, &StringRecord)> {
        let place = |line| SourceSpan {
            path: self.path.clone(),
            line,
        };
        let records = self.records.iter();
        records.map(move |(line, record)| (place(*line), record))
    }
}

/// What was read of a header when a record could not be.
struct TableError {
    error: csv::Error,
    header: Vec<String>,
}

/// The header and the first records.
fn table(
    reader: &mut Reader<&[u8]>,
    limit: Option<usize>,
) -> Result<(Vec<String>, Vec<StringRecord>), TableError> {
    let unread = |header: &[String]| {
        let header = header.to_vec();
        move |error| TableError { error, header }
    };
    let header = reader.headers().map_err(unread(&[]))?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let records = reader.records().take(limit.unwrap_or(usize::MAX));
    let records = records.collect::<Result<_, _>>();
    let records = records.map_err(unread(&header))?;
    Ok((header, records))
}

fn misquoted(path: &Path, wrong: Misquoted) -> DataError {
    DataError::File(FileError::Content {
        path: path.to_owned(),
        line: Some(wrong.line),
        reason: wrong.reason,
    })
}

/// The line that a record begins in. Its position may be before the end of the line above.
fn line(text: &[u8], at: &Position) -> usize {
    let rest = text.get(at.byte() as usize..).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    at.line() as usize + ends.filter(|byte| **byte == b'\n').count()
}

fn content(path: &Path, error: &csv::Error, line: Option<usize>, header: &[String]) -> DataError {
    match error.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } if len < expected_len => DataError::TooFewFields {
            place: SourceSpan {
                path: path.to_owned(),
                line: line.unwrap_or(0),
            },
            found: *len as usize,
            expected: *expected_len as usize,
            separator: "comma",
            columns: listed(header),
        },
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => DataError::File(FileError::Content {
            path: path.to_owned(),
            line,
            reason: format!(
                "{len} fields, but the header has {expected_len}; a field with a comma in it is put \
                 in quotation marks"
            ),
        }),
        ErrorKind::Utf8 { err, .. } => DataError::File(FileError::Content {
            path: path.to_owned(),
            line,
            reason: format!(
                "field {} is not UTF-8; save the file as UTF-8",
                err.field() + 1
            ),
        }),
        _ => DataError::File(FileError::Content {
            path: path.to_owned(),
            line,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<CsvFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, bytes).unwrap();
        CsvFile::read(&path, None).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_in_quotation_marks_may_hold_commas_marks_and_line_ends() {
        let text = "\u{feff}mr,Ref\r\n\"a, b\",\"one\r\n\"\"two\"\"\"\r\nc,d\r\n";
        let file = read(text.as_bytes()).unwrap();
        assert_eq!(
            (
                file.column(&["mr"]).unwrap(),
                file.column(&["ref"]).unwrap()
            ),
            (0, 1)
        );
        let records: Vec<(usize, Vec<&str>)> = file
            .records()
            .map(|(place, record)| (place.line, record.iter().collect()))
            .collect();
        let expected = [(2, vec!["a, b", "one\r\n\"two\""]), (4, vec!["c", "d"])];
        assert_eq!(records, expected);
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        for (text, line, reason) in [
            (
                &b"a,b\n1,2\n3\n"[..],
                "csv:3: ",
                "1 fields, expected at least 2",
            ),
            (b"a,b\n1,2,3\n", "csv:2: ", "3 fields, but the header has 2"),
            (b"a,b\n1,\xff\n", "csv:2: ", "field 2 is not UTF-8"),
            (b"a,b\n1,2\n3,\"4\n5,6\n", "csv:3: ", "not closed"),
            (b"a,b\n\"1,2\n3,4\n", "csv:2: ", "not closed"),
            (b"a,b\n1,5\" x\n3,\"4\n", "csv:3: ", "not closed"),
            (b"\"a,b\n1,2\n", "csv:1: ", "not closed"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(line) && error.contains(reason), "{error}");
        }
        let error = read(b"x,y\n1,2\n")
            .unwrap()
            .column(&["mr", "meaning"])
            .unwrap_err();
        assert!(
            error.to_string().contains("no column `mr`; it has x, y"),
            "{error}"
        );
    }

    #[test]
    fn a_quotation_mark_within_a_field_without_them_is_text() {
        let file = read(b"a,b\n1,5\" x\n\"2\",3").unwrap();
        let fields: Vec<&str> = file.records().flat_map(|(_, record)| record).collect();
        assert_eq!(fields, ["1", "5\" x", "2", "3"]);
        assert_eq!(read(b"").unwrap().records().count(), 0);
    }

    #[test]
    fn only_the_first_records_are_read_where_there_is_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "a\n1\n2\n3,4\n").unwrap();
        let file = CsvFile::read(&path, Some(2)).unwrap();
        assert_eq!(file.records().count(), 2);
    }
}
