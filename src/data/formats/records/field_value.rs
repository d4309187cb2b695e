//! A value of a record.

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
        /// As it is spelled, or would be.
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
    /// The value of a column that is not read as anything else, for a partition by it.
    pub fn to_value(&self) -> String {
        self.spelled().unwrap_or_else(|| self.shown())
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

    /// The cell in a message, cut to a length that fits one.
    pub fn shown(&self) -> String {
        const MOST: usize = 80;
        let text = match self {
            Self::Missing | Self::Null => "null".to_owned(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::shown).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Object(json) => json.clone(),
            other => other.spelled().unwrap_or_default(),
        };
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
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
}
