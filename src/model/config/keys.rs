//! The keys of a `config.json`, read one at a time, each with a refusal that names it.

use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::base::files;
use crate::model::ModelError;
use crate::model::architecture::Architecture;

/// The most weights that a model may have: 40 GB of them in float32.
pub(crate) const MOST_WEIGHTS: i64 = 10_000_000_000;

/// From 0, and finite.
pub(crate) const FROM_ZERO: Range<f64> = 0.0..f64::INFINITY;

/// All of the file's keys.
///
/// # Errors
/// If it cannot be read, or is not a JSON object.
pub(crate) fn object(path: &Path) -> Result<Map<String, Value>, ModelError> {
    let bytes = files::read(path).map_err(ModelError::NoConfig)?;
    let json = serde_json::from_slice(&bytes);
    Ok(json.map_err(|error| FileError::content(path, format!("not a JSON object: {error}")))?)
}

/// The entries of an object.
pub(crate) fn object_of(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}

/// What is wrong with a key's value, and what would be right.
pub(crate) fn refused(key: &str, value: &Value, right: &str) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(60) {
        text.replace_range(end.., "…");
    }
    format!("{key} is {text}; {right}")
}

/// Refuses sizes whose weights nothing could hold; `sizes` are their keys.
///
/// # Errors
/// If there are more than [`MOST_WEIGHTS`].
pub(crate) fn check_weights(architecture: &dyn Architecture, sizes: &str) -> Result<(), String> {
    let weights = architecture.base_weights();
    if weights > MOST_WEIGHTS {
        return Err(format!(
            "its sizes give {weights} weights, but at most {MOST_WEIGHTS} are supported; check \
             {sizes}"
        ));
    }
    Ok(())
}

/// A configuration's keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a>(pub &'a Map<String, Value>);

impl Keys<'_> {
    /// The value of a key that is there and not `null`.
    pub fn given(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A size from 1 to the most that is plausible.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn size(&self, key: &str, default: i64, most: i64) -> Result<i64, String> {
        let Some(value) = self.0.get(key) else {
            return Ok(default);
        };
        let size = value.as_i64().filter(|size| (1..=most).contains(size));
        size.ok_or_else(|| {
            let right = format!("it must be a whole number from 1 to {most}");
            refused(key, value, &right)
        })
    }

    /// A number in a range, which `right` words.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn number(
        &self,
        key: &str,
        default: f64,
        range: &Range<f64>,
        right: &str,
    ) -> Result<f64, String> {
        let Some(value) = self.0.get(key) else {
            return Ok(default);
        };
        let number = value.as_f64().filter(|number| range.contains(number));
        number.ok_or_else(|| refused(key, value, &format!("it must be a number {right}")))
    }

    /// A text, if there is one.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.given(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(refused(key, other, "it must be a name")),
        }
    }

    /// Refuses a key that makes another model of it unless it is `false`, `null`, empty or not
    /// there.
    ///
    /// # Errors
    /// If it is set.
    pub fn refuse_if_set(&self, key: &str, meaning: &str) -> Result<(), String> {
        let value = self.0.get(key).unwrap_or(&Value::Null);
        let unset = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if unset {
            return Ok(());
        }
        let right = format!("{meaning}: not supported, and the model would differ without it");
        Err(refused(key, value, &right))
    }
}
