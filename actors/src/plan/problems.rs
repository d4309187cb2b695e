//! The problems of a plan, each with the path of its field.

use std::fmt;

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The field, as in `faults[2].probability`; a file's reader can find its line with it.
    pub path: String,
    /// The problem and the expected value.
    pub message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan cannot be run: {}", join(.0))]
pub struct PlanErrors(pub Vec<PlanError>);

fn join(errors: &[PlanError]) -> String {
    let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

/// Collects problems while a plan is checked.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<PlanError>);

impl Problems {
    /// Notes a problem of the field at `path`.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(PlanError {
            path: path.into(),
            message: message.into(),
        });
    }

    /// Notes a problem of `path.field` unless it is `ok`.
    pub fn require(&mut self, ok: bool, path: &str, field: &str, message: &str) {
        if !ok {
            self.add(join_path(path, field), message);
        }
    }

    /// `path.field` must be a number greater than 0.
    pub fn positive(&mut self, value: f64, path: &str, field: &str) {
        let ok = value.is_finite() && value > 0.0;
        self.require(ok, path, field, "must be a number greater than 0");
    }

    /// `path.field` must be a number of at least 0.
    pub fn not_negative(&mut self, value: f64, path: &str, field: &str) {
        let ok = value.is_finite() && value >= 0.0;
        self.require(ok, path, field, "must be a number of at least 0");
    }

    /// `path.field` must lie between 0 and 1.
    pub fn fraction(&mut self, value: f64, path: &str, field: &str) {
        let ok = (0.0..=1.0).contains(&value);
        self.require(ok, path, field, "must be a number from 0 to 1");
    }

    /// All that was found.
    ///
    /// # Errors
    /// If something was.
    pub fn into_result(self) -> Result<(), PlanErrors> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(PlanErrors(self.0))
        }
    }
}

fn join_path(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}
