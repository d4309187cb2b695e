//! Reads the tables of a scenario file so that each error has its line and none hides another:
//! a key that is refused is reported, taken out, and the rest is read again.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::tables::ScenarioTables;

/// A key with the path to it, as `faults[2].at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPath {
    /// The path.
    pub path: String,
    /// The key alone.
    pub key: String,
    /// The span of the key in the text.
    pub key_span: Range<usize>,
    /// The span of its value.
    pub span: Range<usize>,
    /// Whether it holds keys.
    pub is_table: bool,
}

/// A key that was refused, and why.
pub(crate) struct Refused {
    /// The key; `None`: the table as a whole.
    pub place: Option<KeyPath>,
    /// The deserialiser's error.
    pub error: toml::de::Error,
}

/// Reads one top-level table. Gives what could be read, and what was refused.
pub(crate) fn read(table: &Spanned<DeTable<'_>>) -> (ScenarioTables, Vec<Refused>) {
    let mut table = table.clone();
    let mut refused = Vec::new();
    loop {
        let error = match ScenarioTables::deserialize(table.clone().into_deserializer()) {
            Ok(tables) => return (tables, refused),
            Err(error) => error,
        };
        let place = error.span().and_then(|span| find(table.get_ref(), &span));
        let removed = place
            .as_ref()
            .is_some_and(|place| remove(table.get_mut(), &place.key_span));
        refused.push(Refused { place, error });
        if !removed {
            return (ScenarioTables::default(), refused);
        }
    }
}

/// All keys of a table, those inside tables and arrays of tables included, with their paths.
pub(crate) fn places(table: &DeTable<'_>) -> Vec<KeyPath> {
    let mut found = Vec::new();
    walk(table, "", &mut found);
    found
}

fn walk(table: &DeTable<'_>, prefix: &str, found: &mut Vec<KeyPath>) {
    for (key, value) in table.iter() {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        let place = |path: &str, span: Range<usize>, is_table: bool| KeyPath {
            path: path.to_owned(),
            key: key.get_ref().to_string(),
            key_span: key.span(),
            span,
            is_table,
        };
        match value.get_ref() {
            DeValue::Table(inner) => {
                found.push(place(&path, value.span(), true));
                walk(inner, &path, found);
            }
            DeValue::Array(items) if items.iter().all(is_table) && !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    found.push(place(&path, item.span(), true));
                    if let DeValue::Table(inner) = item.get_ref() {
                        walk(inner, &path, found);
                    }
                }
            }
            _ => found.push(place(&path, value.span(), false)),
        }
    }
}

fn is_table(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Table(_))
}

/// The innermost key that an error's span is about.
fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<KeyPath> {
    let about =
        |place: &KeyPath| place.key_span.contains(&span.start) || place.span.contains(&span.start);
    // Inner keys come after those that hold them.
    places(table).into_iter().rfind(about)
}

/// Takes out the key that stands at a place in the text.
fn remove(table: &mut DeTable<'_>, key_span: &Range<usize>) -> bool {
    let here = table.keys().find(|key| key.span() == *key_span);
    if let Some(name) = here.map(|key| key.get_ref().to_string()) {
        return table.remove(name.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove(inner, key_span),
        DeValue::Array(items) => items.iter_mut().any(|item| match item.get_mut() {
            DeValue::Table(inner) => remove(inner, key_span),
            _ => false,
        }),
        _ => false,
    })
}
