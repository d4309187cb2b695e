//! Records of JSON files.

use std::path::Path;

use serde_json::{Map, Value};

use crate::data::error::DataError;
use crate::data::formats::json::JsonFile;
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{FileRecord, WantedColumn};

/// Reads JSON lines, or an array of objects.
pub(super) fn read(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = JsonFile::read(path, limit)?;
    for (place, record) in file.records() {
        let cell = |column: &WantedColumn<'_>| match find(record, column.name) {
            Some(value) => Ok(cell(value)),
            None if column.required => Err(DataError::MissingKey {
                place: place.clone(),
                key: column.name.to_owned(),
                available: record.keys().cloned().collect(),
            }),
            None => Ok(FieldValue::Missing),
        };
        let cells = columns.iter().map(cell).collect::<Result<_, _>>()?;
        take(FileRecord { place, cells })?;
    }
    Ok(())
}

/// The value under a key, or under the keys between full stops.
fn find<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    record.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(record.get(outer)?.as_object()?, inner)
    })
}

fn cell(value: &Value) -> FieldValue {
    match value {
        Value::Null => FieldValue::Null,
        Value::Bool(value) => FieldValue::Bool(*value),
        Value::Number(number) => FieldValue::Number {
            spelled: number.to_string(),
            value: number.as_f64().unwrap_or(f64::NAN),
        },
        Value::String(text) => FieldValue::Text(text.clone()),
        Value::Array(items) => FieldValue::List(items.iter().map(cell).collect()),
        Value::Object(_) => FieldValue::Object(value.to_string()),
    }
}
