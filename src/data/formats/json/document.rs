//! JSON that is not lines: an array of objects, or an object that holds one under `data`.

use std::path::Path;

use serde::de::Error;
use serde_json::Value;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::data::error::DataError;
use crate::data::formats::json::value::{Unique, Unparsed};
use crate::data::formats::json::{FORMS, Records, line_ends, not_an_object, utf8, without_mark};

/// The key of an object that holds all records.
pub(super) const DATA: &str = "data";

/// The first records of a file.
///
/// # Errors
/// As [`JsonFile::read`](super::JsonFile::read).
pub(super) fn records(path: &Path, limit: usize) -> Result<Records, DataError> {
    let bytes = files::read(path)?;
    let mut cursor = Cursor {
        path,
        text: utf8(path, 1, without_mark(1, &bytes))?,
        line: 1,
        passed: 0,
    };
    match cursor.peek() {
        Some('[') => {
            let records = cursor.array(limit)?;
            match cursor.peek() {
                Some(_) if records.len() < limit => {
                    Err(cursor.wrong(format!("there is more behind the array; {FORMS}")))
                }
                _ => Ok(records),
            }
        }
        // The first line of JSON lines that is cut looks like this too.
        Some('{') => cursor.array_in_object(limit).map_err(|error| match error {
            DataError::File(FileError::Content { path, line, reason }) => {
                let reason = format!("{reason}; {FORMS}");
                FileError::Content { path, line, reason }.into()
            }
            error => error,
        }),
        _ => {
            let line = cursor.line;
            let value = cursor.value()?;
            Err(not_an_object(path, line, &value))
        }
    }
}

/// What is left of a document.
struct Cursor<'a> {
    path: &'a Path,
    text: &'a str,
    /// The line in which `text` begins.
    line: usize,
    /// The bytes of that line before `text`.
    passed: usize,
}

impl Cursor<'_> {
    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let space = self.text.len() - self.text.trim_start().len();
        self.pass(space);
        self.text.chars().next()
    }

    fn pass(&mut self, bytes: usize) {
        let (passed, rest) = self.text.split_at(bytes);
        self.line += line_ends(passed.as_bytes());
        self.passed = match passed.rfind('\n') {
            Some(end) => passed.len() - end - 1,
            None => self.passed + passed.len(),
        };
        self.text = rest;
    }

    /// Passes a character if it is next.
    fn take(&mut self, character: char) -> bool {
        let is_next = self.peek() == Some(character);
        if is_next {
            self.pass(character.len_utf8());
        }
        is_next
    }

    fn value(&mut self) -> Result<Value, DataError> {
        if self.peek().is_none() {
            return Err(self.separator("a value"));
        }
        let mut values = serde_json::Deserializer::from_str(self.text).into_iter::<Unique>();
        let value = values
            .next()
            .unwrap_or_else(|| Err(Error::custom("a value is missing")));
        let end = values.byte_offset();
        match value {
            Ok(Unique(value)) => {
                self.pass(end);
                Ok(value)
            }
            Err(error) => {
                let wrong = Unparsed::new(self.text, self.passed, &error);
                Err(wrong.into_content(self.path, self.line, "file"))
            }
        }
    }

    /// Something else is next than what parts the values.
    fn separator(&mut self, expected: &str) -> DataError {
        let reason = match self.peek() {
            Some(found) => format!("expected {expected}, found `{found}`"),
            None => "the file ends within a record; is it cut?".to_owned(),
        };
        self.wrong(reason)
    }

    fn wrong(&self, reason: String) -> DataError {
        DataError::File(FileError::Content {
            path: self.path.to_owned(),
            line: Some(self.line),
            reason,
        })
    }

    /// The first records of an array.
    fn array(&mut self, limit: usize) -> Result<Records, DataError> {
        let mut records = Records::new();
        self.take('[');
        while records.len() < limit && !(records.is_empty() && self.take(']')) {
            self.peek();
            let line = self.line;
            match self.value()? {
                Value::Object(record) => records.push((line, record)),
                other => return Err(not_an_object(self.path, line, &other)),
            }
            if self.take(']') {
                break;
            }
            if records.len() < limit && !self.take(',') {
                return Err(self.separator("`,` or `]`"));
            }
        }
        Ok(records)
    }

    /// The first records of the array that an object holds under [`DATA`].
    fn array_in_object(&mut self, limit: usize) -> Result<Records, DataError> {
        let first = self.line;
        self.take('{');
        let mut keys = Vec::new();
        while !self.take('}') {
            if self.peek().is_none() {
                self.line = first;
                return Err(self.separator("`}`"));
            }
            let key = self.value()?;
            if !self.take(':') {
                return Err(self.separator("`:`"));
            }
            if key.as_str() == Some(DATA) && self.peek() == Some('[') {
                return self.array(limit);
            }
            keys.push(key.to_string());
            self.value()?;
            self.take(',');
        }
        self.line = first;
        Err(self.wrong(format!(
            "an object with {} over several lines",
            keys.join(", ")
        )))
    }
}
