//! A value of a record.

use crate::data::error::shortened;

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldValue {
    /// The record has no such column.
    Missing,
    /// It says that there is no value.
    Null,
    /// A text; every cell of a file that knows no other.
    Text(String),
    /// A number.
    Number {
        /// As the file spells it, or as it would in text.
        spelled: String,
        /// Its value.
        value: f64,
    },
    /// True or false.
    Bool(bool),
    /// Several values.
    List(Vec<FieldValue>),
    /// Values with names, as a message shows them.
    Object(String),
}

impl FieldValue {
    /// Whether there is nothing in it: no such column, null, or a text that is blank.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Missing | Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// The whole value as text, for a partition by its column.
    pub fn to_value(&self) -> String {
        match self {
            Self::Missing | Self::Null => "null".to_owned(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_value).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Object(json) => json.clone(),
            other => other.spelled().unwrap_or_default(),
        }
    }

    /// A text, a number, or true or false, as a table would spell it.
    pub fn spelled(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number { spelled, .. } => Some(spelled.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Missing | Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The value in a message, cut to a length that fits one.
    pub fn shown(&self) -> String {
        shortened(self.to_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_a_value_cut_between_characters() {
        let long = FieldValue::Text("é".repeat(100));
        assert_eq!(long.shown(), "é".repeat(80) + "…");
        let list = FieldValue::List(vec![
            FieldValue::Bool(true),
            FieldValue::Null,
            FieldValue::Text("a".into()),
        ]);
        assert_eq!(list.shown(), "[true, null, a]");
        assert_eq!(list.spelled(), None);
    }

    #[test]
    fn long_values_that_begin_alike_are_two_values() {
        let value = |end: &str| FieldValue::List(vec![FieldValue::Text("a".repeat(90) + end)]);
        assert_eq!(value("b").shown(), value("c").shown());
        assert_ne!(value("b").to_value(), value("c").to_value());
    }
}
