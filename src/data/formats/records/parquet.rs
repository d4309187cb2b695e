//! Records of Parquet files. A whole number is spelled without a fraction whatever its type, for a
//! column of whole numbers with a gap is often stored as one of fractions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::record::Field;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::{Type, TypePtr};

use crate::base::files;
use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::parquet::cells::number;
use crate::data::formats::parquet::columns::{as_bytes, unreadable};
use crate::data::formats::parquet::pages::RowGroup;
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{FileRecord, WantedColumn, positions};

/// Reads a file of rows.
pub(super) fn read(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    // The reader asserts some of what a damaged file may break.
    catch_unwind(AssertUnwindSafe(|| read_rows(path, columns, limit, take)))
        .unwrap_or_else(|_| Err(unreadable(path)("it is damaged").into()))
}

fn read_rows(
    path: &Path,
    columns: &[WantedColumn<'_>],
    limit: Option<usize>,
    take: &mut dyn FnMut(FileRecord) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = Arc::new(files::open(path)?);
    let metadata: ParquetMetaData = ParquetMetaDataReader::new()
        .parse_and_finish(&*file)
        .map_err(unreadable(path))?;
    let schema = wanted(path, metadata.file_metadata().schema(), columns)?;
    let mut place = SourceSpan {
        path: path.to_owned(),
        line: 0,
    };
    for metadata in metadata.row_groups() {
        let group = RowGroup {
            file: Arc::clone(&file),
            metadata,
        };
        let rows =
            RowIter::from_row_group(Some(schema.clone()), &group).map_err(unreadable(path))?;
        for row in rows {
            if limit.is_some_and(|limit| place.line >= limit) {
                return Ok(());
            }
            place.line += 1;
            let row = row.map_err(unreadable(path))?;
            let cell = |column: &WantedColumn<'_>| {
                let mut fields = row.get_column_iter();
                match fields.find(|(name, _)| *name == column.name) {
                    Some((_, field)) => cell(field, column.name, &place),
                    None => Ok(FieldValue::Missing),
                }
            };
            let cells = columns.iter().map(cell).collect::<Result<_, _>>()?;
            let place = place.clone();
            take(FileRecord { place, cells })?;
        }
    }
    Ok(())
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
        read.push(match field.is_group() {
            true => field,
            false => as_bytes(field, path)?,
        });
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
