//! The values of a row, as what the task takes them for.

use ::parquet::data_type::Decimal;
use ::parquet::record::{Field, Row};

use crate::data::error::{DataError, SourceSpan, shortened};
use crate::data::label;
use crate::data::request::SplitRequest;

/// One row, with its place for messages.
#[derive(Debug)]
pub(crate) struct Cells {
    pub row: Row,
    pub place: SourceSpan,
}

impl Cells {
    fn field(&self, column: &str) -> &Field {
        let mut columns = self.row.get_column_iter();
        columns
            .find(|(name, _)| *name == column)
            .map_or(&Field::Null, |(_, field)| field)
    }

    /// The text of a column of strings, or of bytes that are UTF-8.
    pub fn text(&self, column: &str) -> Result<&str, DataError> {
        match self.field(column) {
            Field::Str(text) => Ok(text),
            Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_err(|error| {
                self.error(
                    column,
                    format!(
                        "text in UTF-8, which byte {} is not",
                        error.valid_up_to() + 1
                    ),
                )
            }),
            _ => Err(self.error(column, "text".to_owned())),
        }
    }

    /// A further column's value, as a TSV file would spell it.
    pub fn value(&self, column: &str) -> String {
        match self.field(column) {
            Field::Str(text) => text.clone(),
            Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
            other => other.to_string(),
        }
    }

    /// The label. −1 or nothing stands for a secret one, which only test splits may have.
    pub fn label(
        &self,
        column: &str,
        request: &SplitRequest<'_>,
    ) -> Result<Option<f32>, DataError> {
        let field = self.field(column);
        match number(field) {
            Some(-1.0) if request.name.is_test() => Ok(None),
            Some(label) if label::is_valid(request.schema, label) => Ok(Some(label as f32)),
            None if request.name.is_test() && *field == Field::Null => Ok(None),
            _ => Err(self.error(column, label::expectation(request.schema, false))),
        }
    }

    /// The example's number.
    pub fn id(&self, column: &str) -> Result<u32, DataError> {
        number(self.field(column))
            .filter(|id| id.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(id))
            .map(|id| id as u32)
            .ok_or_else(|| self.error(column, "the example's number".to_owned()))
    }

    fn error(&self, column: &str, expected: String) -> DataError {
        DataError::Cell {
            place: self.place.clone(),
            column: column.to_owned(),
            found: shortened(self.value(column)),
            expected,
        }
    }
}

/// The number that a value is; `true` is 1.
pub(crate) fn number(field: &Field) -> Option<f64> {
    Some(match field {
        Field::Bool(value) => f64::from(u8::from(*value)),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => *value as f64,
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => *value as f64,
        Field::Float16(value) => (*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => *value,
        Field::Decimal(value) => decimal(value)?,
        _ => return None,
    })
}

/// A decimal's value, `None` beyond the 38 digits that 128 bits hold.
fn decimal(decimal: &Decimal) -> Option<f64> {
    let bytes = decimal.data();
    let sign = if *bytes.first()? < 0x80 { 0 } else { 0xff };
    let mut unscaled = [sign; 16];
    let start = unscaled.len().checked_sub(bytes.len())?;
    unscaled[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(unscaled) as f64 / 10_f64.powi(decimal.scale()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_its_digits_over_a_power_of_ten() {
        assert_eq!(decimal(&Decimal::from_i32(425, 9, 2)), Some(4.25));
        assert_eq!(decimal(&Decimal::from_i64(-1, 18, 0)), Some(-1.0));
        let bytes = |bytes: Vec<u8>, scale| Decimal::from_bytes(bytes.into(), 38, scale);
        assert_eq!(decimal(&bytes(vec![0xff, 0x9c], 1)), Some(-10.0));
        assert_eq!(decimal(&bytes(vec![1; 17], 0)), None);
        assert_eq!(decimal(&bytes(vec![], 0)), None);
    }
}
