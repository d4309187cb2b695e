//! Reads numbers that are none: JSON has no NaN and no infinity, and writes them as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::learner::Scores;

/// A number; `null` is read as NaN.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(or_nan)
}

/// Scores; `null` is read as NaN.
pub(crate) fn scores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scores, D::Error> {
    BTreeMap::deserialize(deserializer).map(with_nan)
}

/// Scores, if there are any.
pub(crate) fn maybe_scores<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Scores>, D::Error> {
    Option::deserialize(deserializer).map(|scores| scores.map(with_nan))
}

fn or_nan(number: Option<f64>) -> f64 {
    number.unwrap_or(f64::NAN)
}

fn with_nan(scores: BTreeMap<String, Option<f64>>) -> Scores {
    let scores = scores.into_iter();
    scores.map(|(name, value)| (name, or_nan(value))).collect()
}
