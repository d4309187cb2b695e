//! From a record to an example.

use std::ops::Range;

use crate::data::error::{DataError, SourceSpan};
use crate::data::formats::records::field_value::FieldValue;
use crate::data::formats::records::{FileRecord, WantedColumn};
use crate::data::schema::SplitName;
use crate::tasks::ReadOptions;
use crate::tasks::custom::CustomTask;
use crate::tasks::custom::form::{AnsweredForm, ExampleForm, LabelledForm};
use crate::tasks::custom::labels::LabelValue;
use crate::tasks::custom::template::ColumnTemplate;

/// What stands for the value of a further column where a record has none.
const NO_VALUE: &str = "none";

/// An example of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnExample {
    /// Where its record begins.
    pub place: SourceSpan,
    /// The first text, or the prompt.
    pub text_a: String,
    /// The second text, or the answer.
    pub text_b: Option<String>,
    /// Its label.
    pub label: LabelValue,
    /// The user's own id.
    pub id: Option<String>,
    /// The values of further columns, `None` where the file has no such column.
    pub values: Vec<Option<String>>,
}

impl OwnExample {
    /// Hashes what tells its texts from those of others: both of a pair, and of a prompt and its
    /// answer the prompt alone.
    pub fn hash_texts(&self, task: &CustomTask, hasher: &mut blake3::Hasher) {
        hasher.update(self.text_a.as_bytes());
        if task.has_labels()
            && let Some(second) = &self.text_b
        {
            hasher.update(&[0]);
            hasher.update(second.as_bytes());
        }
    }
}

/// Reads the records of a split as examples.
pub(crate) struct ExampleReader<'a> {
    task: &'a CustomTask,
    is_test: bool,
    columns: Vec<WantedColumn<'a>>,
}

impl<'a> ExampleReader<'a> {
    /// The reader of a split.
    pub fn new(task: &'a CustomTask, split: SplitName, options: &'a ReadOptions) -> Self {
        let is_test = split.is_test();
        let wanted = |name: &'a str, required| WantedColumn { name, required };
        let mut columns: Vec<WantedColumn<'a>> = Vec::new();
        match &task.form {
            ExampleForm::Labelled(form) => {
                columns.push(wanted(&form.text, true));
                columns.extend(form.text2.iter().map(|name| wanted(name, true)));
                let labels = form.label.iter();
                columns.extend(labels.map(|name| wanted(name, !is_test)));
            }
            ExampleForm::Answered(form) => {
                columns.extend(form.prompt.columns().map(|name| wanted(name, true)));
                let answer = form.answer.columns();
                columns.extend(answer.map(|name| wanted(name, !is_test)));
            }
        }
        columns.extend(task.id.iter().map(|name| wanted(name, true)));
        let further = options.columns.iter();
        columns.extend(further.map(|name| wanted(name, split == SplitName::Train)));
        Self {
            task,
            is_test,
            columns,
        }
    }

    /// The columns that records are read with: those of the form, the id, and further ones.
    pub fn columns(&self) -> &[WantedColumn<'a>] {
        &self.columns
    }

    /// The example of a record that was read with these columns.
    pub fn example(&self, record: FileRecord) -> Result<OwnExample, DataError> {
        let fields = ReadFields {
            columns: &self.columns,
            cells: &record.cells,
            place: &record.place,
        };
        let (text_a, text_b, label, used) = match &self.task.form {
            ExampleForm::Labelled(form) => self.labelled(form, &fields)?,
            ExampleForm::Answered(form) => self.answered(form, &fields)?,
        };
        let id = self.task.id.as_ref().map(|_| fields.id(used)).transpose()?;
        let further = &record.cells[used + usize::from(self.task.id.is_some())..];
        Ok(OwnExample {
            text_a,
            text_b,
            label,
            id,
            values: further.iter().map(value).collect(),
            place: record.place,
        })
    }

    fn labelled(&self, form: &LabelledForm, fields: &ReadFields<'_>) -> Result<Made, DataError> {
        let first = fields.text(0)?.to_owned();
        let mut used = 1;
        let second = form.text2.is_some().then(|| fields.second_text(1));
        used += usize::from(second.is_some());
        let cells = &fields.cells[used..used + form.label.len()];
        let label = form.parse(cells, self.is_test);
        let label = label.map_err(|(at, expected)| fields.error(used + at, expected))?;
        let second = second.transpose()?.map(str::to_owned);
        Ok((first, second, label, used + form.label.len()))
    }

    fn answered(&self, form: &AnsweredForm, fields: &ReadFields<'_>) -> Result<Made, DataError> {
        let prompts = form.prompt.columns().count();
        let used = prompts + form.answer.columns().count();
        let texts = |range: Range<usize>| -> Result<Vec<String>, DataError> {
            range.map(|at| fields.text_or_number(at)).collect()
        };
        let fill = |template: &ColumnTemplate, texts: Vec<String>| {
            template.fill(texts.iter().map(String::as_str))
        };
        let prompt = fill(&form.prompt, texts(0..prompts)?);
        let cells = &fields.cells[prompts..used];
        let answer = match self.is_test && cells.iter().any(FieldValue::is_blank) {
            true => None,
            false => Some(fill(&form.answer, texts(prompts..used)?)),
        };
        Ok((prompt, answer, LabelValue::Secret, used))
    }
}

/// The two texts, the label, and how many of the cells they were made of.
type Made = (String, Option<String>, LabelValue, usize);

fn value(cell: &FieldValue) -> Option<String> {
    match cell {
        FieldValue::Missing => None,
        blank if blank.is_blank() => Some(NO_VALUE.to_owned()),
        other => Some(other.to_value()),
    }
}

/// The cells of a record.
struct ReadFields<'a> {
    columns: &'a [WantedColumn<'a>],
    cells: &'a [FieldValue],
    place: &'a SourceSpan,
}

impl<'a> ReadFields<'a> {
    /// A text that is not empty.
    fn text(&self, at: usize) -> Result<&'a str, DataError> {
        match &self.cells[at] {
            FieldValue::Text(text) if !text.trim().is_empty() => Ok(text),
            FieldValue::Text(_) => Err(self.error(at, "text that is not empty")),
            _ => Err(self.error(at, "text")),
        }
    }

    /// A text that is not empty, or a number as it is spelled.
    fn text_or_number(&self, at: usize) -> Result<String, DataError> {
        match &self.cells[at] {
            FieldValue::Number { spelled, .. } => Ok(spelled.clone()),
            _ => self.text(at).map(str::to_owned),
        }
    }

    /// A text that may be empty.
    fn second_text(&self, at: usize) -> Result<&'a str, DataError> {
        match &self.cells[at] {
            FieldValue::Text(text) => Ok(text),
            FieldValue::Null => Ok(""),
            _ => Err(self.error(at, "text")),
        }
    }

    /// A text or a number.
    fn id(&self, at: usize) -> Result<String, DataError> {
        let id = match &self.cells[at] {
            cell @ (FieldValue::Text(_) | FieldValue::Number { .. }) => cell.spelled(),
            _ => None,
        };
        id.map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty())
            .ok_or_else(|| self.error(at, "the example's id, a text or a number"))
    }

    fn error(&self, at: usize, expected: impl Into<String>) -> DataError {
        DataError::Cell {
            place: self.place.clone(),
            column: self.columns[at].name.to_owned(),
            found: self.cells[at].shown(),
            expected: expected.into(),
        }
    }
}
