//! Labels as files spell them, and as numbers.

use crate::data::schema::Schema;

/// The label that a TSV cell spells, if the data set has it.
pub(crate) fn parse(schema: &Schema, text: &str) -> Option<f32> {
    let text = text.trim();
    if schema.is_regression() {
        let score: f32 = text.parse().ok()?;
        return is_valid(schema, score.into()).then_some(score);
    }
    let class = if schema.named_labels {
        schema.label_names.iter().position(|name| *name == text)?
    } else {
        text.parse().ok()?
    };
    (class < schema.label_names.len()).then_some(class as f32)
}

/// Whether a number is one of the data set's labels.
pub(crate) fn is_valid(schema: &Schema, label: f64) -> bool {
    if schema.is_regression() {
        (0.0..=5.0).contains(&label)
    } else {
        label.fract() == 0.0 && label >= 0.0 && label < schema.label_names.len() as f64
    }
}

/// What a TSV cell or a submission holds for a class.
pub(crate) fn spelling(schema: &Schema, class: usize) -> String {
    match schema.label_names.get(class) {
        Some(name) if schema.named_labels => (*name).to_owned(),
        _ => class.to_string(),
    }
}

/// The labels in words, for messages.
pub(crate) fn expectation(schema: &Schema, named: bool) -> String {
    if schema.is_regression() {
        return "a score from 0 to 5".to_owned();
    }
    let classes = 0..schema.label_names.len();
    let spellings: Vec<String> = if named {
        classes.map(|class| spelling(schema, class)).collect()
    } else {
        classes.map(|class| class.to_string()).collect()
    };
    spellings.join(" or ")
}
