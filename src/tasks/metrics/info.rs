//! What is known of a metric.

use serde::Serialize;

/// What is known of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MetricInfo {
    /// Its name among the scores.
    pub name: &'static str,
    /// Its name for people, where it is another.
    pub title: Option<&'static str>,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl MetricInfo {
    /// A metric of which less is better.
    #[must_use]
    pub const fn lower(name: &'static str) -> Self {
        Self {
            name,
            title: None,
            higher_is_better: false,
        }
    }

    /// A metric of which more is better.
    #[must_use]
    pub const fn higher(name: &'static str) -> Self {
        Self {
            name,
            title: None,
            higher_is_better: true,
        }
    }

    /// The same with another name for people.
    #[must_use]
    pub const fn titled(self, title: &'static str) -> Self {
        Self {
            title: Some(title),
            ..self
        }
    }

    /// Whether a score is better than another.
    #[must_use]
    pub fn is_better(self, score: f64, than: f64) -> bool {
        match self.higher_is_better {
            true => score > than,
            false => score < than,
        }
    }
}
