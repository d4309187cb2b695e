//! Examples in memory: columns of text laid end to end, not a `String` per cell.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::data::schema::SplitName;
use crate::data::source_span::SourceSpan;

/// One example, borrowed from its [`Split`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example<'a> {
    /// Its number in a submission: the file's index column in test splits, elsewhere its row
    /// from 0.
    pub id: u32,
    /// The first, or only, text.
    pub text_a: &'a str,
    /// The second text of a pair.
    pub text_b: Option<&'a str>,
    /// The class's number, or the score of a regression; `None` where it is secret, or where an
    /// example may have several labels ([`Split::label_values`]).
    pub label: Option<f32>,
}

/// The examples of one split, in the file's order.
#[derive(Debug, Clone)]
pub struct Split {
    name: SplitName,
    ids: Vec<u32>,
    text_a: TextColumn,
    text_b: Option<TextColumn>,
    labels: Vec<f32>,
    /// The number of values in `labels` for each example.
    label_width: usize,
    own_ids: Option<TextColumn>,
    columns: BTreeMap<String, CategoricalColumn>,
    places: ExamplePlaces,
    skipped: usize,
}

impl Split {
    /// An empty split, of pairs of texts or not, to be filled with [`Split::push`].
    #[must_use]
    pub fn new(is_pair: bool, name: SplitName) -> Self {
        Self {
            name,
            ids: Vec::new(),
            text_a: TextColumn::default(),
            text_b: is_pair.then(TextColumn::default),
            labels: Vec::new(),
            label_width: 1,
            own_ids: None,
            columns: BTreeMap::new(),
            places: ExamplePlaces::default(),
            skipped: 0,
        }
    }

    /// An empty split whose examples have any number of `labels` labels.
    #[must_use]
    pub fn with_sets(is_pair: bool, name: SplitName, labels: usize) -> Self {
        Self {
            label_width: labels,
            ..Self::new(is_pair, name)
        }
    }

    /// Appends an example. The second text is kept if the split is of pairs.
    pub fn push(&mut self, example: Example<'_>) {
        self.push_texts(&example);
        let label = example.label.unwrap_or(f32::NAN);
        self.labels
            .extend(std::iter::repeat_n(label, self.label_width));
    }

    /// Appends an example that has these labels of all; `None`: they are secret.
    ///
    /// # Panics
    /// If there are not as many as the split has labels.
    pub fn push_set(&mut self, example: Example<'_>, set: Option<&[bool]>) {
        let Some(set) = set else {
            return self.push(Example {
                label: None,
                ..example
            });
        };
        assert_eq!(set.len(), self.label_width, "a value for each label");
        self.push_texts(&example);
        let values = set.iter().map(|has| f32::from(u8::from(*has)));
        self.labels.extend(values);
    }

    fn push_texts(&mut self, example: &Example<'_>) {
        self.ids.push(example.id);
        self.text_a.push(example.text_a);
        if let Some(column) = &mut self.text_b {
            column.push(example.text_b.unwrap_or_default());
        }
    }

    /// Appends the last pushed example's id in the user's own file.
    pub fn push_own_id(&mut self, id: &str) {
        self.own_ids.get_or_insert_default().push(id);
    }

    /// Appends the last pushed example's value of a further column.
    pub fn push_value(&mut self, column: &str, value: &str) {
        if let Some(known) = self.columns.get_mut(column) {
            known.push(value);
        } else {
            let mut fresh = CategoricalColumn::default();
            fresh.push(value);
            self.columns.insert(column.to_owned(), fresh);
        }
    }

    /// Notes the place in a file of the last pushed example. Either all examples have one, or none.
    pub fn push_place(&mut self, place: &SourceSpan) {
        self.places.push(place);
    }

    /// The place of an example in its file, if it was noted.
    #[must_use]
    pub fn place(&self, position: usize) -> Option<SourceSpan> {
        self.places.get(position)
    }

    pub(crate) fn count_skipped(&mut self) {
        self.skipped += 1;
    }

    /// The split's name.
    #[must_use]
    pub fn name(&self) -> SplitName {
        self.name
    }

    /// The number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Lines left out because they were broken in a file known for it (QQP).
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The example at a position.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn example(&self, position: usize) -> Example<'_> {
        let label = match self.label_values(position) {
            [label] => *label,
            _ => f32::NAN,
        };
        Example {
            id: self.ids[position],
            text_a: self.text_a.get(position),
            text_b: self.text_b.as_ref().map(|column| column.get(position)),
            label: (!label.is_nan()).then_some(label),
        }
    }

    /// All examples in order.
    pub fn iter(&self) -> impl Iterator<Item = Example<'_>> {
        (0..self.len()).map(|position| self.example(position))
    }

    /// The examples' numbers, as a submission wants them.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// An example's id in the user's own file, if it has ids.
    #[must_use]
    pub fn own_id(&self, position: usize) -> Option<&str> {
        self.own_ids.as_ref().map(|ids| ids.get(position))
    }

    /// The labels, NaN where one is secret: one an example, or where it may have several, 1 or 0
    /// for each label, row-major.
    #[must_use]
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The number of values in [`Split::labels`] that an example has.
    #[must_use]
    pub fn label_width(&self) -> usize {
        self.label_width
    }

    /// The label of an example, or a value for each label where it may have several.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn label_values(&self, position: usize) -> &[f32] {
        let width = self.label_width;
        &self.labels[position * width..][..width]
    }

    /// Whether every example has a label.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        !self.labels.iter().any(|label| label.is_nan())
    }

    /// The values of a further column, if it was requested when the split was read.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&CategoricalColumn> {
        self.columns.get(name)
    }

    /// Feeds all texts and their boundaries to a hasher: what the tokens depend on.
    pub(crate) fn hash_texts(&self, hasher: &mut blake3::Hasher) {
        for column in std::iter::once(&self.text_a).chain(&self.text_b) {
            hasher.update(&(column.ends.len() as u64).to_le_bytes());
            for end in &column.ends {
                hasher.update(&(*end as u64).to_le_bytes());
            }
            hasher.update(column.text.as_bytes());
        }
    }
}

/// The examples' places in files.
#[derive(Debug, Clone, Default)]
struct ExamplePlaces {
    files: Vec<PathBuf>,
    /// Each example's file, as a position in `files`, and line.
    at: Vec<(u32, usize)>,
}

impl ExamplePlaces {
    fn push(&mut self, place: &SourceSpan) {
        if self.files.last() != Some(&place.path) {
            self.files.push(place.path.clone());
        }
        self.at.push((self.files.len() as u32 - 1, place.line));
    }

    fn get(&self, position: usize) -> Option<SourceSpan> {
        let (file, line) = *self.at.get(position)?;
        Some(SourceSpan {
            path: self.files.get(file as usize)?.clone(),
            line,
        })
    }
}

/// Strings laid end to end.
#[derive(Debug, Clone, Default, PartialEq)]
struct TextColumn {
    text: String,
    /// The end of each string in `text`.
    ends: Vec<usize>,
}

impl TextColumn {
    fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    fn get(&self, position: usize) -> &str {
        let start = position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[position]]
    }
}

/// A column of few distinct values, each stored once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CategoricalColumn {
    values: Vec<String>,
    codes: Vec<u32>,
    by_value: BTreeMap<String, u32>,
}

impl CategoricalColumn {
    /// Appends a value.
    pub fn push(&mut self, value: &str) {
        let code = self.by_value.get(value).copied().unwrap_or_else(|| {
            let fresh = self.values.len() as u32;
            self.values.push(value.to_owned());
            self.by_value.insert(value.to_owned(), fresh);
            fresh
        });
        self.codes.push(code);
    }

    /// The distinct values, in order of first appearance.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Each example's value, as a position in [`CategoricalColumn::values`].
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }
}

impl<'a> FromIterator<&'a str> for CategoricalColumn {
    fn from_iter<I: IntoIterator<Item = &'a str>>(values: I) -> Self {
        let mut column = Self::default();
        values.into_iter().for_each(|value| column.push(value));
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_come_back_as_they_were_pushed() {
        let mut split = Split::new(true, SplitName::Test);
        let given = [
            Example {
                id: 7,
                text_a: "",
                text_b: Some("b"),
                label: None,
            },
            Example {
                id: 9,
                text_a: "été",
                text_b: Some(""),
                label: Some(1.0),
            },
        ];
        given.iter().for_each(|example| split.push(*example));
        assert_eq!(split.iter().collect::<Vec<_>>(), given);
        assert!(!split.is_labelled());
    }

    #[test]
    fn a_column_stores_each_value_once() {
        let column: CategoricalColumn = ["a", "b", "a"].into_iter().collect();
        assert_eq!(column.values(), ["a", "b"]);
        assert_eq!(column.codes(), [0, 1, 0]);
    }
}
