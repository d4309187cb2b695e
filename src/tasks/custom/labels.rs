//! Labels of a cell, and the labels that a column has.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{self, WantedColumn};
use crate::data::schema::SplitName;
use crate::tasks::custom::form::{LabelNames, LabelRule, LabelledForm, SetSpelling};

/// The most labels that are taken from the data without being named.
const MOST_LABELS: usize = 1_000;
/// As many labels need not be named however few the examples are.
const FEW_LABELS: usize = 10;

/// The largest score: a loss sums squares of scores, which must be finite in float32.
const LARGEST_SCORE: f32 = 1e15;

/// How test splits of the hub spell a label that is secret.
const SECRET: &str = "-1";

/// An example's label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LabelValue {
    /// It is not known, which only test splits may say.
    Secret,
    /// A class's number or a score.
    One(f32),
    /// Which labels it has.
    Set(Vec<bool>),
}

impl LabelledForm {
    /// The label that cells hold: one cell, or one of each label's column.
    ///
    /// # Errors
    /// Which of the cells is wrong, and what was expected.
    pub(crate) fn parse(
        &self,
        cells: &[FieldValue],
        is_test: bool,
    ) -> Result<LabelValue, (usize, String)> {
        if is_test && cells.iter().any(FieldValue::is_blank) {
            return Ok(LabelValue::Secret);
        }
        let first = cells.first().unwrap_or(&FieldValue::Missing);
        match &self.rule {
            LabelRule::Class(labels) => class(labels, first, is_test).map_err(|it| (0, it)),
            LabelRule::Score => score(first).map_err(|it| (0, it)),
            LabelRule::Several { labels, spelling } => match spelling {
                SetSpelling::Separated(separator) => {
                    set(labels, first, separator).map_err(|it| (0, it))
                }
                SetSpelling::Columns => flags(cells),
            },
        }
    }
}

/// A cell's text without the space around it.
fn trimmed(cell: &FieldValue) -> Option<String> {
    let text = cell.spelled()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn class(labels: &LabelNames, cell: &FieldValue, is_test: bool) -> Result<LabelValue, String> {
    let expected = || format!("one of the labels {}", labels.listed());
    let spelled = trimmed(cell).ok_or_else(expected)?;
    match labels.position(&spelled) {
        Some(class) => Ok(LabelValue::One(class as f32)),
        None if is_test && spelled == SECRET => Ok(LabelValue::Secret),
        None => Err(expected() + &other_spelling(labels, &spelled)),
    }
}

/// What an error adds about a number that is spelled differently from a label of the same value.
fn other_spelling(labels: &LabelNames, spelled: &str) -> String {
    let number = |text: &str| text.parse::<f64>().ok();
    let wanted = number(spelled);
    let same = |label: &&String| wanted.is_some() && number(label) == wanted;
    let found = labels.values.iter().find(same);
    found.map_or_else(String::new, |label| {
        format!("; `{label}` is the same number, spell it alike")
    })
}

fn score(cell: &FieldValue) -> Result<LabelValue, String> {
    let expected = || "a finite number".to_owned();
    let score = match cell {
        FieldValue::Number { value, .. } => *value as f32,
        FieldValue::Text(text) => text.trim().parse().map_err(|_| expected())?,
        _ => return Err(expected()),
    };
    match score.abs() {
        size if size <= LARGEST_SCORE => Ok(LabelValue::One(score)),
        size if size.is_finite() => Err(format!(
            "a number between -{LARGEST_SCORE:e} and {LARGEST_SCORE:e}, whose square is finite in \
             float32"
        )),
        _ => Err(expected()),
    }
}

fn set(labels: &LabelNames, cell: &FieldValue, separator: &str) -> Result<LabelValue, String> {
    let mut set = vec![false; labels.values.len()];
    for spelled in parts(cell, separator)? {
        let Some(at) = labels.position(&spelled) else {
            let wrong = format!(
                "labels among {}; `{spelled}` is none of them",
                labels.listed()
            );
            return Err(wrong + &other_spelling(labels, &spelled));
        };
        if std::mem::replace(&mut set[at], true) {
            return Err(format!("each label once; `{spelled}` is there twice"));
        }
    }
    Ok(LabelValue::Set(set))
}

/// The labels that a cell lists; an empty text, or list, has none.
fn parts(cell: &FieldValue, separator: &str) -> Result<Vec<String>, String> {
    let expected =
        || format!("a list of labels, or labels with `{separator}` between them; empty for none");
    match cell {
        FieldValue::List(items) => {
            let items = items.iter().map(|item| trimmed(item).ok_or_else(expected));
            items.collect()
        }
        FieldValue::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
        FieldValue::Text(text) => {
            let parts = text.split(separator).map(|part| part.trim().to_owned());
            let parts: Vec<String> = parts.collect();
            match parts.iter().any(String::is_empty) {
                true => Err(expected()),
                false => Ok(parts),
            }
        }
        FieldValue::Number { spelled, .. } => Ok(vec![spelled.clone()]),
        _ => Err(expected()),
    }
}

fn flags(cells: &[FieldValue]) -> Result<LabelValue, (usize, String)> {
    let flag = |(at, cell): (usize, &FieldValue)| match cell {
        FieldValue::Bool(value) => Ok(*value),
        FieldValue::Number { value, .. } if *value == 1.0 => Ok(true),
        FieldValue::Number { value, .. } if *value == 0.0 => Ok(false),
        FieldValue::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err((at, "0 or 1".to_owned())),
        },
        _ => Err((at, "0 or 1".to_owned())),
    };
    let set = cells.iter().enumerate().map(flag);
    Ok(LabelValue::Set(set.collect::<Result<_, _>>()?))
}

/// The labels of training files where they are not named, sorted: numbers by value, texts by their
/// characters. `separator` is what is between several labels of a cell.
///
/// # Errors
/// If a file cannot be read, a cell holds no label, or what the column holds seems to be something
/// other than labels.
pub fn discover(
    files: &[impl AsRef<Path>],
    column: &str,
    separator: Option<&str>,
) -> Result<Vec<String>, DataError> {
    let wanted = [WantedColumn {
        name: column,
        required: true,
    }];
    let mut found = BTreeMap::<String, SourceSpan>::new();
    let mut examples = 0_usize;
    for file in files {
        records::read(file.as_ref(), &wanted, None, &mut |record| {
            let cell = &record.cells[0];
            let labels = match separator {
                Some(separator) => parts(cell, separator),
                None => trimmed(cell)
                    .map(|label| vec![label])
                    .ok_or_else(|| "a label".to_owned()),
            };
            let labels = labels.map_err(|expected| DataError::Cell {
                place: record.place.clone(),
                column: column.to_owned(),
                found: cell.shown(),
                expected,
            })?;
            for label in labels {
                found.entry(label).or_insert_with(|| record.place.clone());
            }
            examples += 1;
            Ok(())
        })?;
    }
    let path = files.first().map(AsRef::as_ref).unwrap_or(Path::new(""));
    if examples == 0 {
        return Err(DataError::Empty {
            path: path.to_owned(),
        });
    }
    check(&found, examples, column)?;
    Ok(sorted(found.into_keys().collect()))
}

fn check(
    found: &BTreeMap<String, SourceSpan>,
    examples: usize,
    column: &str,
) -> Result<(), DataError> {
    let refuse = |wrong: String| {
        Err(DataError::Split {
            split: SplitName::Train,
            wrong,
        })
    };
    let number = |text: &String| text.parse::<f64>().ok();
    let numbers: Vec<(&String, f64)> = found
        .keys()
        .filter_map(|text| Some((text, number(text)?)))
        .collect();
    let fraction = numbers.iter().find(|(_, value)| value.fract() != 0.0);
    if let Some((text, _)) = fraction
        && numbers.len() == found.len()
    {
        return refuse(format!(
            "has numbers such as {text} in column `{column}`; are they scores? give kind = \"score\", \
             or name the labels if they are classes"
        ));
    }
    let count = found.len();
    if count > MOST_LABELS || count > FEW_LABELS && count * 2 > examples {
        return refuse(format!(
            "has {count} different labels in column `{column}` among {examples} examples; name the \
             column of the labels, or the labels"
        ));
    }
    // Each with each, so not before it is known that there are not too many.
    for (at, (text, value)) in numbers.iter().enumerate() {
        if let Some((other, _)) = numbers[..at].iter().find(|(_, other)| other == value) {
            return refuse(format!(
                "has the labels `{other}` ({}) and `{text}` ({}) in column `{column}`, which are the \
                 same number; spell them alike, or name the labels",
                found[*other], found[*text]
            ));
        }
    }
    let mut in_lower_case = BTreeMap::<String, &String>::new();
    for text in found.keys() {
        if let Some(other) = in_lower_case.insert(text.to_lowercase(), text) {
            return refuse(format!(
                "has the labels `{other}` ({}) and `{text}` ({}) in column `{column}`, which differ \
                 in case only; spell them alike, or name the labels",
                found[other], found[text]
            ));
        }
    }
    match found.keys().next() {
        Some(only) if count < 2 => refuse(format!(
            "has one label only, `{only}` in column `{column}`, so there is nothing to learn"
        )),
        Some(_) => Ok(()),
        None => refuse(format!(
            "has no label in column `{column}`, so there is nothing to learn"
        )),
    }
}

/// Numbers by value, texts by their characters.
fn sorted(mut labels: Vec<String>) -> Vec<String> {
    let numbers: Option<Vec<f64>> = labels.iter().map(|label| label.parse().ok()).collect();
    if numbers.is_some() {
        let value = |label: &String| label.parse::<f64>().unwrap_or_default();
        labels.sort_by(|a, b| value(a).total_cmp(&value(b)));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column of a number for each of very many examples has to be refused before its numbers are
    /// compared, each with each.
    #[test]
    fn too_many_labels_are_refused_before_they_are_compared() {
        let place = SourceSpan {
            path: "a.csv".into(),
            line: 2,
        };
        let texts = (0..500_000).map(|at| at.to_string()).chain(["0.0".into()]);
        let found: BTreeMap<_, _> = texts.map(|text| (text, place.clone())).collect();
        let error = check(&found, found.len(), "price").unwrap_err().to_string();
        assert!(error.contains("500001 different labels"), "{error}");
    }
}
