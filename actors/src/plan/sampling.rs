//! Selection of clients: how many, and by what criterion.

use serde::{Deserialize, Serialize};

use crate::plan::errors::PlanErrors;

/// Selection of a round's clients among those available.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// The number of clients.
    pub size: SampleSize,
    /// By what.
    pub by: SampleBy,
}

/// The number of clients to select.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleSize {
    /// All that are there.
    #[default]
    All,
    /// A fraction of the fleet, at least one client.
    Fraction(f64),
    /// A number of clients.
    Number(u32),
}

/// By what clients are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SampleBy {
    /// All alike.
    #[default]
    Uniform,
    /// In proportion to the examples in their shards.
    Examples,
    /// By how much they promise, after Oort.
    Utility(Utility),
}

/// Guided participant selection, after Oort (Lai et al., OSDI 2021).
///
/// A client that took part has the utility `examples · loss · (preferred / seconds)^penalty`, the
/// last factor only when it took longer than `preferred`, plus a term that grows with the rounds
/// since it last took part. (Oort's statistical utility has the root mean square of the losses of
/// the single examples; a mean loss per client is what a client reports here.)
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Utility {
    /// Fraction of the sample that is drawn from clients that never took part.
    pub exploration: f64,
    /// Seconds that a client's round should take; `None`: slowness does not matter.
    pub preferred_seconds: Option<f64>,
    /// The penalty on slowness; Oort's α.
    pub penalty: f64,
}

impl Default for Utility {
    /// Oort's own values, where it has them.
    fn default() -> Self {
        Self {
            exploration: 0.1,
            preferred_seconds: None,
            penalty: 2.0,
        }
    }
}

impl Sampling {
    /// Everybody who is there.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// N clients, drawn uniformly.
    #[must_use]
    pub fn number(number: u32) -> Self {
        Self {
            size: SampleSize::Number(number),
            by: SampleBy::Uniform,
        }
    }

    /// Number of clients to select from a fleet of this size.
    pub(crate) fn wanted(&self, fleet: usize) -> usize {
        match self.size {
            SampleSize::All => fleet,
            SampleSize::Fraction(fraction) => ((fraction * fleet as f64).round() as usize).max(1),
            SampleSize::Number(number) => number as usize,
        }
    }

    /// Adds what is wrong with it for a fleet of this size to `errors`. `path` is its place in
    /// the plan.
    pub fn check(&self, path: &str, fleet: usize, errors: &mut PlanErrors) {
        match self.size {
            SampleSize::All => {}
            SampleSize::Fraction(fraction) => {
                let ok = fraction > 0.0 && fraction <= 1.0;
                errors.require(ok, path, "size.fraction", "must be above 0 and at most 1");
            }
            SampleSize::Number(number) => {
                let ok = (1..=fleet).contains(&(number as usize));
                let message = format!("must be from 1 to {fleet}, the number of clients");
                errors.require(ok, path, "size.number", &message);
            }
        }
        if let SampleBy::Utility(utility) = self.by {
            let path = format!("{path}.by.utility");
            errors.fraction(utility.exploration, &path, "exploration");
            errors.not_negative(utility.penalty, &path, "penalty");
            if let Some(seconds) = utility.preferred_seconds {
                errors.positive(seconds, &path, "preferred_seconds");
            }
        }
    }
}
