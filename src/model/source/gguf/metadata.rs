//! The metadata of a GGUF file: keys and values, by type.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::reader::HeaderReader;

/// The most elements that all arrays of a file may have together. The largest vocabularies need a
/// third of that.
const MOST_ELEMENTS: u64 = 1 << 22;
/// The most arrays that may be nested.
const DEEPEST: u32 = 4;

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// Of one, two, four or eight bytes.
    Unsigned(u64),
    /// Of one, two, four or eight bytes.
    Signed(i64),
    /// Of single precision.
    F32(f32),
    /// Of double precision.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// A string.
    Text(String),
    /// Values of one type.
    Array(Vec<MetadataValue>),
}

impl MetadataValue {
    /// What an error says of it.
    fn described(&self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::F32(value) => format!("{value:?}"),
            Self::F64(value) => format!("{value:?}"),
            Self::Bool(value) => value.to_string(),
            Self::Text(_) => "a string".to_owned(),
            Self::Array(_) => "an array".to_owned(),
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).ok(),
            Self::Signed(value) => Some(*value),
            _ => None,
        }
    }
}

/// All keys of a file, each with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufMetadata {
    path: PathBuf,
    values: BTreeMap<String, MetadataValue>,
}

impl GgufMetadata {
    /// Reads `count` keys with their values.
    ///
    /// # Errors
    /// If the file ends before them, has a key twice, or a value of an unknown type.
    pub(crate) fn read<R: Read>(
        reader: &mut HeaderReader<R>,
        count: u64,
    ) -> Result<Self, GgufError> {
        let mut values = BTreeMap::new();
        let mut elements = MOST_ELEMENTS;
        for _ in 0..count {
            let start = reader.position();
            let key = reader.string("a key of the metadata")?;
            let what = format!("the value of key `{key}`");
            let kind = reader.u32(&what)?;
            let value = read_value(reader, kind, &what, DEEPEST, &mut elements)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(reader.wrong(start, format!("key `{key}` appears twice")));
            }
        }
        Ok(Self {
            path: reader.path().to_owned(),
            values,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.values.get(key)
    }

    /// An error about a key.
    pub(crate) fn wrong(&self, key: &str, reason: impl Into<String>) -> GgufError {
        GgufError::Key {
            path: self.path.clone(),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// What a key that may be absent holds, if `convert` takes it.
    fn optional<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a MetadataValue) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let converted = convert(value);
        let refused = || {
            self.wrong(
                key,
                format!("it is {}, expected {expected}", value.described()),
            )
        };
        converted.map(Some).ok_or_else(refused)
    }

    /// The value that [`Self::text`] or another of these gave for a key that every model needs.
    ///
    /// # Errors
    /// If there is none.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, GgufError> {
        value.ok_or_else(|| self.wrong(key, "it is missing, and every model needs it"))
    }

    /// The string of a key.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.optional(key, "a string", |value| match value {
            MetadataValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The truth value of a key. Errors as [`Self::text`].
    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.optional(key, "true or false", |value| match value {
            MetadataValue::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// The integer of a key, which is not negative. Errors as [`Self::text`].
    pub fn count(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.optional(key, "an integer that is not negative", |value| {
            value.integer().and_then(|value| u64::try_from(value).ok())
        })
    }

    /// The floating-point number of a key. One of single precision is the shortest decimal
    /// fraction that rounds to it, which is what its author wrote: 1e-5, not 9.99999974738e-06.
    ///
    /// # Errors
    /// If it is of another type, or not finite.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        let expected = "a finite floating-point number";
        self.optional(key, expected, |value| {
            let number = match value {
                MetadataValue::F32(value) => value.to_string().parse().ok()?,
                MetadataValue::F64(value) => *value,
                _ => return None,
            };
            f64::is_finite(number).then_some(number)
        })
    }

    /// The array of strings of a key. Errors as [`Self::text`].
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, GgufError> {
        self.array(key, "an array of strings", |value| match value {
            MetadataValue::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// The array of integers of a key. Errors as [`Self::text`].
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, GgufError> {
        self.array(key, "an array of integers", MetadataValue::integer)
    }

    fn array<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&MetadataValue) -> Option<T>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        self.optional(key, expected, |value| match value {
            MetadataValue::Array(values) => values.iter().map(&convert).collect(),
            _ => None,
        })
    }
}

/// Reads a value of the type with the number `kind`. `what` names it in errors; `depth` is how many
/// arrays may still be nested, `elements` how many elements the arrays of the file may still have.
fn read_value<R: Read>(
    reader: &mut HeaderReader<R>,
    kind: u32,
    what: &str,
    depth: u32,
    elements: &mut u64,
) -> Result<MetadataValue, GgufError> {
    use MetadataValue::{Array, Bool, F32, F64, Signed, Text, Unsigned};
    let start = reader.position();
    Ok(match kind {
        0 => Unsigned(u8::from_le_bytes(reader.bytes(what)?).into()),
        1 => Signed(i8::from_le_bytes(reader.bytes(what)?).into()),
        2 => Unsigned(u16::from_le_bytes(reader.bytes(what)?).into()),
        3 => Signed(i16::from_le_bytes(reader.bytes(what)?).into()),
        4 => Unsigned(reader.u32(what)?.into()),
        5 => Signed(i32::from_le_bytes(reader.bytes(what)?).into()),
        6 => F32(f32::from_le_bytes(reader.bytes(what)?)),
        7 => match reader.bytes(what)? {
            [0] => Bool(false),
            [1] => Bool(true),
            [other] => {
                let reason = format!("{what} is {other}, expected 0 (false) or 1 (true)");
                return Err(reader.wrong(start, reason));
            }
        },
        8 => Text(reader.string(what)?),
        9 => Array(read_array(reader, what, depth, elements)?),
        10 => Unsigned(reader.u64(what)?),
        11 => Signed(i64::from_le_bytes(reader.bytes(what)?)),
        12 => F64(f64::from_le_bytes(reader.bytes(what)?)),
        other => {
            let reason = format!("{what} has the unknown type {other}, expected 0 to 12");
            return Err(reader.wrong(start, reason));
        }
    })
}

fn read_array<R: Read>(
    reader: &mut HeaderReader<R>,
    what: &str,
    depth: u32,
    elements: &mut u64,
) -> Result<Vec<MetadataValue>, GgufError> {
    let start = reader.position();
    let kind = reader.u32(what)?;
    let length = reader.u64(what)?;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(reader.wrong(
            start,
            format!("{what} has more than {DEEPEST} nested arrays"),
        ));
    };
    *elements = elements.checked_sub(length).ok_or_else(|| {
        let reason = format!(
            "{what} has {length} elements; all arrays together may have {MOST_ELEMENTS}, so the \
             file is damaged"
        );
        reader.wrong(start, reason)
    })?;
    // Without reserving the length, which may be wrong.
    let mut values = Vec::new();
    for _ in 0..length {
        values.push(read_value(reader, kind, what, depth, elements)?);
    }
    Ok(values)
}
