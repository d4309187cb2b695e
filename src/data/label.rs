//! Labels as files spell them, and as numbers.

use crate::tasks::glue::task::Task;

/// The label that a TSV cell spells, if the task has it.
pub(crate) fn parse(task: Task, text: &str) -> Option<f32> {
    let text = text.trim();
    let spec = task.spec();
    if task.is_regression() {
        let score: f32 = text.parse().ok()?;
        return is_valid(task, score.into()).then_some(score);
    }
    let class = if spec.named_labels {
        spec.label_names.iter().position(|name| *name == text)?
    } else {
        text.parse().ok()?
    };
    (class < task.num_labels()).then_some(class as f32)
}

/// Whether a number is one of the task's labels.
pub(crate) fn is_valid(task: Task, label: f64) -> bool {
    if task.is_regression() {
        (0.0..=5.0).contains(&label)
    } else {
        label.fract() == 0.0 && label >= 0.0 && label < task.num_labels() as f64
    }
}

/// What a TSV cell or a submission holds for a class.
pub(crate) fn spelling(task: Task, class: usize) -> String {
    let spec = task.spec();
    match spec.label_names.get(class) {
        Some(name) if spec.named_labels => (*name).to_owned(),
        _ => class.to_string(),
    }
}

/// The task's labels in words, for messages.
pub(crate) fn expectation(task: Task, named: bool) -> String {
    if task.is_regression() {
        return "a score from 0 to 5".to_owned();
    }
    let classes = 0..task.num_labels();
    let spellings: Vec<String> = if named {
        classes.map(|class| spelling(task, class)).collect()
    } else {
        classes.map(|class| class.to_string()).collect()
    };
    spellings.join(" or ")
}
