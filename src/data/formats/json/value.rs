//! A JSON value in which no object has a key twice: `serde_json` would keep the last and drop the
//! others, and with them a part of an example.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::base::file_error::FileError;
use crate::data::error::DataError;

/// Why a text is not a value.
#[derive(Debug)]
pub(super) struct Unparsed {
    reason: String,
    /// The line, from 1, in the text.
    line: usize,
    /// Whether the text ends before the value does.
    pub ends: bool,
}

impl Unparsed {
    /// The error of a text before which its first line has some bytes.
    pub fn new(text: &str, before: usize, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let place = format!(" at line {line} column {column}");
        let reason = error.to_string();
        let reason = reason.strip_suffix(&place).unwrap_or(&reason);
        // A line end within a string is its line's.
        let line = line.saturating_sub(usize::from(column == 0));
        let before = if line > 1 { 0 } else { before };
        Self {
            reason: match is_not_a_number(text, line, column) {
                true => "NaN and Infinity are not JSON; write null, or a number".to_owned(),
                false => format!("{reason} at column {}", before + column),
            },
            line,
            ends: error.classify() == Category::Eof,
        }
    }

    /// The error of a text that begins in a line; `whole` names it.
    pub fn into_content(self, path: &Path, line: usize, whole: &str) -> DataError {
        DataError::File(FileError::Content {
            path: path.to_owned(),
            line: Some(line + self.line.saturating_sub(1)),
            reason: match self.ends {
                true => format!("the {whole} ends within a record; is it cut?"),
                false => self.reason,
            },
        })
    }
}

/// Whether what was not understood is a number that Python writes and JSON does not have.
fn is_not_a_number(text: &str, line: usize, column: usize) -> bool {
    let line = text.split('\n').nth(line.saturating_sub(1));
    let bytes = line.unwrap_or_default().as_bytes();
    let from = column.saturating_sub(2).min(bytes.len());
    let names = [&b"NaN"[..], b"Infinity"];
    (from..bytes.len().min(from + 2)).any(|at| names.iter().any(|it| bytes[at..].starts_with(it)))
}

/// The value that a text is.
///
/// # Errors
/// If it is not one.
pub(super) fn parse(text: &str) -> Result<Value, Unparsed> {
    serde_json::from_str(text)
        .map(|Unique(value)| value)
        .map_err(|error| Unparsed::new(text, 0, &error))
}

/// A value in which no object has a key twice.
#[derive(Debug)]
pub(super) struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` is there twice"
                )));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
