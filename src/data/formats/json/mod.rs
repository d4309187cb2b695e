//! JSON lines (an object a line) and JSON: an array of objects, or an object that holds one under
//! `data`. Which of them a file is, its content says and not its name.
//!
//! * [`document`]: JSON that is not lines.
//! * [`value`]: a value, in which no key is there twice.

mod document;
mod value;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::json::value::Unparsed;

/// Records, each with the line that it begins in.
type Records = Vec<(usize, Map<String, Value>)>;

/// The form that is expected of a file.
const FORMS: &str = "expected JSON lines (an object a line), an array of objects, or an object that \
                     holds one under `data`";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file of records, read whole.
#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    records: Records,
}

impl JsonFile {
    /// Reads a file, or its first records. JSON lines are read a line at a time, and not beyond
    /// the last record asked for.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8 or not JSON, or a record is not an object or has a key
    /// twice: with the line.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self, DataError> {
        let limit = limit.unwrap_or(usize::MAX);
        let lines = lines(path, limit)?;
        let records = match lines {
            Some(records) => records,
            None => document::records(path, limit)?,
        };
        Ok(Self {
            path: path.to_owned(),
            records,
        })
    }

    /// Each record with its place: the line that it begins in.
    pub fn records(&self) -> impl Iterator<Item = (SourceSpan, &Map<String, Value>)> {
        let place = |line| SourceSpan {
            path: self.path.clone(),
            line,
        };
        let records = self.records.iter();
        records.map(move |(line, record)| (place(*line), record))
    }
}

/// The records of JSON lines; `None` if the file's first line is not an object of its own, and so
/// the file another kind of JSON.
fn lines(path: &Path, limit: usize) -> Result<Option<Records>, DataError> {
    let mut records = Records::new();
    for (index, line) in BufReader::new(files::open(path)?).split(b'\n').enumerate() {
        let line = line.map_err(FileError::read(path))?;
        let number = index + 1;
        let text = utf8(path, number, without_mark(number, &line))?.trim();
        if text.is_empty() {
            continue;
        }
        match value::parse(text) {
            Ok(Value::Object(record)) => records.push((number, record)),
            Ok(Value::Array(_)) if records.is_empty() => return Ok(None),
            Err(Unparsed { ends: true, .. }) if records.is_empty() => return Ok(None),
            Ok(other) => return Err(not_an_object(path, number, &other)),
            Err(error) => return Err(error.into_content(path, number, "line")),
        }
        if records.len() >= limit.max(2) {
            break;
        }
    }
    Ok(match &*records {
        // One object may be the whole of a file's JSON.
        [(_, only)] if only.get(document::DATA).is_some_and(Value::is_array) => None,
        _ => {
            records.truncate(limit);
            Some(records)
        }
    })
}

fn without_mark(line: usize, bytes: &[u8]) -> &[u8] {
    match line {
        1 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
        _ => bytes,
    }
}

/// Bytes that begin in a line, as text.
fn utf8<'a>(path: &Path, line: usize, bytes: &'a [u8]) -> Result<&'a str, FileError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let (sound, _) = bytes.split_at(error.valid_up_to());
        let start = sound.iter().rposition(|byte| *byte == b'\n');
        FileError::Content {
            path: path.to_owned(),
            line: Some(line + line_ends(sound)),
            reason: format!(
                "byte {} of the line is not UTF-8",
                sound.len() - start.map_or(0, |at| at + 1) + 1
            ),
        }
    })
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn not_an_object(path: &Path, line: usize, value: &Value) -> DataError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    DataError::File(FileError::Content {
        path: path.to_owned(),
        line: Some(line),
        reason: format!("the record is {kind}, not an object; {FORMS}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_some(bytes: &[u8], limit: Option<usize>) -> Result<Vec<(usize, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        std::fs::write(&path, bytes).unwrap();
        let file = JsonFile::read(&path, limit).map_err(|error| error.to_string())?;
        let spell = |record: &Map<_, _>| Value::Object(record.clone()).to_string();
        let records = file.records();
        Ok(records
            .map(|(place, record)| (place.line, spell(record)))
            .collect())
    }

    fn read(text: &str) -> Result<Vec<(usize, String)>, String> {
        read_some(text.as_bytes(), None)
    }

    fn records(expected: &[(usize, &str)]) -> Result<Vec<(usize, String)>, String> {
        let owned = expected
            .iter()
            .map(|(line, text)| (*line, (*text).to_owned()));
        Ok(owned.collect())
    }

    #[test]
    fn every_form_gives_its_records_with_the_lines_that_they_begin_in() {
        let lines = "\u{feff}\r\n{\"a\": \"é\\n\"}\r\n\n {\"b\": [1, -2.5, null]}";
        let expected = records(&[(2, "{\"a\":\"é\\n\"}"), (4, "{\"b\":[1,-2.5,null]}")]);
        assert_eq!(read(lines), expected);
        let array = "\u{feff}\n[\n{\"a\":\n1}, {\"a\": 2}\n,\n{\"a\": 3} ]\n";
        let expected = records(&[(3, "{\"a\":1}"), (4, "{\"a\":2}"), (6, "{\"a\":3}")]);
        assert_eq!(read(array), expected);
        let object =
            "{\n\"version\": {\"data\": 1},\n\"data\": [\n{\"a\": 1},\n{\"a\": 2}],\n\"x\": 0}";
        let expected = records(&[(4, "{\"a\":1}"), (5, "{\"a\":2}")]);
        assert_eq!(read(object), expected);
        assert_eq!(
            read("{\"data\": [{\"a\": 1}]}\n"),
            records(&[(1, "{\"a\":1}")])
        );
        assert_eq!(read("{\"a\": 1}"), records(&[(1, "{\"a\":1}")]));
        for empty in ["", "\u{feff}", " \n\n", "[ ]", "{\"data\": []}"] {
            assert_eq!(read(empty), records(&[]), "{empty:?}");
        }
    }

    #[test]
    fn lines_whose_records_have_an_array_of_that_name_are_lines() {
        let text = "{\"data\": [1]}\n{\"data\": [2]}\n";
        let expected = records(&[(1, "{\"data\":[1]}"), (2, "{\"data\":[2]}")]);
        assert_eq!(read(text), expected);
        assert_eq!(
            read_some(text.as_bytes(), Some(1)),
            records(&[(1, "{\"data\":[1]}")])
        );
    }

    #[test]
    fn what_is_broken_is_refused_with_its_line() {
        for (text, line, reason) in [
            ("{\"a\": 1}\n[1]\n", 2, "an array, not an object"),
            ("{\"a\": 1}\n7\n", 2, "a number, not an object"),
            ("\"a\"\n", 1, "a string, not an object"),
            ("{\"a\": 1}\n{\"a\": \"x\n", 2, "ends within"),
            ("{\"a\": \"x\n{\"a\": 1}\n", 1, "JSON lines"),
            (
                "{\"a\": 1}\n{\"a\": 1} x\n",
                2,
                "trailing characters at column 10",
            ),
            ("{\"a\": 1}\n{\"a\": NaN}\n", 2, "not JSON; write null"),
            (
                "{\"a\": -Infinity}\n{\"a\": 1}\n",
                1,
                "not JSON; write null",
            ),
            (
                "{\"a\": 1}\n\n{\"a\": 1, \"a\": 2}\n",
                3,
                "the key `a` is there twice",
            ),
            (
                "{\"b\": [{\"a\": 1, \"a\": 2}]}\n",
                1,
                "the key `a` is there twice",
            ),
            ("mr,ref\na,b\n", 1, "expected value"),
            ("[{\"a\": 1},\n{\"a\": 2}", 2, "ends within"),
            ("[{\"a\": 1},\n{\"a\": 2\n", 2, "ends within"),
            ("[{\"a\": 1}\n{\"a\": 2}]", 2, "expected `,` or `]`"),
            ("[{\"a\": 1},\n]", 2, "expected value"),
            ("[{\"a\": 1}, {\"a\": x}]", 1, "expected value at column 18"),
            (
                "[{\"a\": 1},\n {\"a\": 1}, {\"a\":\n x}]",
                3,
                "expected value at column 2",
            ),
            (
                "[{\"a\": 1},\n {\"a\": x}]",
                2,
                "expected value at column 8",
            ),
            ("[{\"a\": 1},\n\n[2]]", 3, "an array, not an object"),
            (
                "[{\"a\": 1},\n{\"a\":\n1, \"a\": 2}]",
                3,
                "the key `a` is there twice",
            ),
            ("[{\"a\": 1}]\n{\"a\": 2}", 2, "behind the array"),
            ("{\n\"a\": 1,\n\"b\": 2}\n", 1, "an array of objects"),
            (
                "{\n\"data\": [\n{\"a\": 1},\n2]}",
                4,
                "a number, not an object",
            ),
        ] {
            let error = read(text).unwrap_err();
            let place = format!("data.json:{line}: ");
            assert!(
                error.contains(&place) && error.contains(reason),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_line_and_byte() {
        for bytes in [
            &b"{\"a\": 1}\n{\"a\": \"\xff\"}"[..],
            b"[{\"a\": 1},\n{\"a\": \"\xff\"}]",
        ] {
            let error = read_some(bytes, None).unwrap_err();
            assert!(
                error.contains("data.json:2: byte 8 of the line is not UTF-8"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_the_first_records_are_read_where_there_is_a_limit() {
        let text = b"{\"a\": 1}\n{\"a\": 2}\n{\"a\"";
        assert_eq!(read_some(text, Some(2)).unwrap().len(), 2);
        assert_eq!(read_some(text, Some(0)).unwrap().len(), 0);
        assert_eq!(read_some(b"[{\"a\": 1}, {\"a\"", Some(1)).unwrap().len(), 1);
    }
}
