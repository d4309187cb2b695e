//! Numbers that are none: a loss that diverged, the correlation of constants.
//!
//! JSON has neither NaN nor infinity: serde_json writes both as `null`, which every reader of JSON
//! takes, and what is here reads `null` back as NaN. So that a run is reported alike while it is
//! running and afterwards, infinities become NaN where they come in ([`finite_or_nan`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::workload::update::Scores;

/// The number if it is finite, else NaN.
#[must_use]
pub fn finite_or_nan(number: f64) -> f64 {
    if number.is_finite() { number } else { f64::NAN }
}

/// A total order in which NaN, of either sign, comes last.
#[must_use]
pub fn nan_last(a: &f64, b: &f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(b))
}

/// Whether a value is the default of its type, which is left out in JSON.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a number; `null` as NaN.
///
/// # Errors
/// If there is something else.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(or_nan)
}

/// Reads scores; `null` as NaN.
///
/// # Errors
/// If there is something else.
pub fn scores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scores, D::Error> {
    BTreeMap::deserialize(deserializer).map(with_nan)
}

/// Reads scores, if there are any; `null` among them as NaN.
///
/// # Errors
/// If there is something else.
pub fn maybe_scores<'de, D: Deserializer<'de>>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_totally_and_nan_comes_last() {
        let mut numbers = [
            f64::NAN,
            1.0,
            f64::INFINITY,
            -f64::NAN,
            f64::NEG_INFINITY,
            -2.0,
        ];
        numbers.sort_by(nan_last);
        assert_eq!(numbers[..4], [f64::NEG_INFINITY, -2.0, 1.0, f64::INFINITY]);
        assert!(numbers[4..].iter().all(|number| number.is_nan()));
    }

    #[test]
    fn what_is_written_as_null_is_read_as_nan_in_json_and_messagepack() {
        #[derive(serde::Serialize, Deserialize)]
        struct Report {
            #[serde(deserialize_with = "number")]
            loss: f64,
            #[serde(deserialize_with = "scores")]
            scores: Scores,
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let report = Report {
                loss: bad,
                scores: Scores::from([("f1".into(), bad), ("accuracy".into(), 0.5)]),
            };
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(json, r#"{"loss":null,"scores":{"accuracy":0.5,"f1":null}}"#);
            let read: Report = serde_json::from_str(&json).unwrap();
            assert!(read.loss.is_nan() && read.scores["f1"].is_nan());
            assert_eq!(read.scores["accuracy"], 0.5);
            let bytes = rmp_serde::to_vec_named(&report).unwrap();
            let read: Report = rmp_serde::from_slice(&bytes).unwrap();
            assert_eq!(read.loss.to_bits(), bad.to_bits());
        }
    }
}
