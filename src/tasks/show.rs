//! Examples as a model sees them: their tokens, which of them count in the loss, and what is cut.

use crate::base::table::{Cell, Table};
use crate::data::encoded::{Counts, EncodedSplit};
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::model::objective::Objective;
use crate::tasks::Task;

/// The first examples of a split, a row for each part of one that is of one type.
///
/// # Errors
/// As [`Task::encode`].
pub fn examples(
    task: &dyn Task,
    split: &Split,
    encoder: &TextEncoder,
    first: usize,
) -> Result<Table, DataError> {
    let columns = [
        ("example", "example"),
        ("part", "part"),
        ("length", "tokens"),
        ("counts", "in the loss"),
        ("cut", "cut"),
        ("tokens", "as the model sees them"),
    ];
    let mut table = Table::new("examples", &columns);
    for (at, example) in split.iter().take(first).enumerate() {
        // Alone, so that it is known whether this one was cut.
        let mut alone = Split::new(example.text_b.is_some(), split.name());
        alone.push(example);
        let encoded = task.encode(&alone, encoder, None)?;
        for part in parts(&encoded) {
            let spelled: Vec<String> = part.ids.iter().map(|id| encoder.spelling(*id)).collect();
            let cut = if encoded.truncated() > 0 { "yes" } else { "no" };
            table.add_row(vec![
                (at + 1).into(),
                part.name.into(),
                part.ids.len().into(),
                Cell::count(part.counts as u64),
                cut.into(),
                spelled.join(" ").into(),
            ]);
        }
        if encoded.counts() == Counts::Labels {
            let label = label(&task.objective(), split.label_values(at));
            let row = [
                "label".into(),
                0.into(),
                1.into(),
                "no".into(),
                label.into(),
            ];
            table.add_row([vec![(at + 1).into()], row.into()].concat());
        }
    }
    Ok(table)
}

/// Tokens side by side of one type.
struct Part<'a> {
    name: &'static str,
    ids: &'a [u32],
    /// How many of them count in the loss.
    counts: usize,
}

fn parts(encoded: &EncodedSplit) -> Vec<Part<'_>> {
    let (ids, types) = (encoded.ids(0), encoded.type_ids(0));
    let counted: Vec<usize> = match encoded.counts() {
        Counts::Labels => Vec::new(),
        Counts::Answers => encoded.answer(0).collect(),
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for run in types.chunk_by(|a, b| a == b) {
        let range = start..start + run.len();
        start = range.end;
        parts.push(Part {
            name: match (encoded.counts(), run[0]) {
                (Counts::Labels, 0) => "text",
                (Counts::Labels, _) => "second text",
                (Counts::Answers, 0) => "prompt",
                (Counts::Answers, _) => "answer",
            },
            counts: counted.iter().filter(|at| range.contains(*at)).count(),
            ids: &ids[range],
        });
    }
    parts
}

fn label(objective: &Objective, values: &[f32]) -> String {
    match (values, objective) {
        (values, _) if values.iter().any(|value| value.is_nan()) => "secret".to_owned(),
        (values, Objective::Multilabel(names)) => {
            let named = names.iter().zip(values);
            let own: Vec<&str> = named
                .filter(|(_, value)| **value == 1.0)
                .map(|(name, _)| name.as_str())
                .collect();
            match own.as_slice() {
                [] => "none".to_owned(),
                own => own.join(", "),
            }
        }
        ([class], Objective::Classes(names)) => {
            let name = names.get(*class as usize);
            name.cloned().unwrap_or_else(|| class.to_string())
        }
        (values, _) => values.iter().map(f32::to_string).collect(),
    }
}
