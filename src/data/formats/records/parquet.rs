//! Records of Parquet files. A whole number is spelled without a fraction whatever its type, for a
//! column of whole numbers with a gap is often stored as one of fractions.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ::parquet::record::{Field, Row};
use ::parquet::schema::types::{Type, TypePtr};

use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::parquet::cells::number;
use crate::data::formats::parquet::columns::unreadable;
use crate::data::formats::parquet::rows::ParquetRows;
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{FileRecord, WantedColumn, positions};

/// Reads a file of rows.
pub(super) fn read(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let rows = ParquetRows::open(path)?;
    let schema = wanted(path, rows.schema(), columns)?;
    if limit == Some(0) {
        return Ok(());
    }
    rows.each(&schema, &mut |row, place| {
        let is_last = limit.is_some_and(|limit| place.line >= limit);
        let cells = cells(&row, columns, &place)?;
        take(FileRecord { place, cells })?;
        Ok(match is_last {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })
}

fn cells(
    row: &Row,
    columns: &[WantedColumn<'_>],
    place: &SourceSpan,
) -> Result<Vec<FieldValue>, DataError> {
    let cell = |column: &WantedColumn<'_>| {
        let mut fields = row.get_column_iter();
        match fields.find(|(name, _)| *name == column.name) {
            Some((_, field)) => cell(field, column.name, place),
            None => Ok(FieldValue::Missing),
        }
    };
    columns.iter().map(cell).collect()
}

/// The part of a file's schema that is read.
fn wanted(path: &Path, root: &Type, columns: &[WantedColumn<'_>]) -> Result<Type, DataError> {
    let fields = root.get_fields();
    let header: Vec<String> = fields.iter().map(|it| it.name().to_owned()).collect();
    let mut read: Vec<TypePtr> = Vec::new();
    for at in positions(path, &header, columns)?.into_iter().flatten() {
        let field = Arc::clone(&fields[at]);
        if read.iter().any(|it| it.name() == field.name()) {
            continue;
        }
        read.push(field);
    }
    let schema = Type::group_type_builder(root.name()).with_fields(read);
    Ok(schema.build().map_err(unreadable(path))?)
}

fn cell(field: &Field, column: &str, place: &SourceSpan) -> Result<FieldValue, DataError> {
    Ok(match field {
        Field::Null => FieldValue::Null,
        Field::Bool(value) => FieldValue::Bool(*value),
        Field::Str(text) => FieldValue::Text(text.clone()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => FieldValue::Text(text.to_owned()),
            Err(error) => {
                return Err(DataError::Cell {
                    place: place.clone(),
                    column: column.to_owned(),
                    found: String::from_utf8_lossy(bytes.data()).into_owned(),
                    expected: format!(
                        "text in UTF-8, which byte {} is not",
                        error.valid_up_to() + 1
                    ),
                });
            }
        },
        Field::ListInternal(list) => {
            let items = list.elements().iter();
            let items = items.map(|item| cell(item, column, place));
            FieldValue::List(items.collect::<Result<_, _>>()?)
        }
        Field::Group(_) | Field::MapInternal(_) => FieldValue::Object(field.to_string()),
        other => match number(other) {
            // Spelled by its own type, of which a number of 32 bits has fewer digits.
            Some(value) => FieldValue::Number {
                spelled: spelled(other, value),
                value,
            },
            None => FieldValue::Text(other.to_string()),
        },
    })
}

fn spelled(field: &Field, value: f64) -> String {
    match field {
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Float16(_) | Field::Decimal(_) => value.to_string(),
        whole => whole.to_string(),
    }
}
