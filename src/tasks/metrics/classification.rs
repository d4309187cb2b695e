//! Metrics of classes and scores, GLUE's among them, as scikit-learn and SciPy compute them, in
//! float64.
//!
//! Where a metric is not defined they answer as those do: Matthews' coefficient and F1 are 0 when
//! one class fills a margin, the correlations are NaN when either side is constant or has fewer
//! than two values, and every metric of no examples is NaN.

use std::collections::BTreeMap;

use crate::model::objective::Objective;
use crate::tasks::metrics::{errors, per_class};

/// A score by its metric's name: `accuracy`, `f1`, `macro_f1`, `balanced_accuracy`, `matthews`,
/// `pearson`, `spearman`, `mse` or `mae`.
///
/// `predictions` are class numbers, or scores for a regression: what [`predictions`] gives.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn score(metric: &str, predictions: &[f32], labels: &[f32]) -> f64 {
    match metric {
        "matthews" => matthews(predictions, labels),
        "f1" => f1(predictions, labels),
        "macro_f1" => per_class::macro_f1(predictions, labels),
        "balanced_accuracy" => per_class::balanced_accuracy(predictions, labels),
        "mse" => errors::mse(predictions, labels),
        "mae" => errors::mae(predictions, labels),
        "pearson" => pearson(predictions, labels),
        "spearman" => spearman(predictions, labels),
        _ => accuracy(predictions, labels),
    }
}

/// What a model's outputs predict: the class of the greatest logit (the first of equals), or the
/// output itself for a score. `outputs` is row-major, `[examples, objective.outputs()]`.
#[must_use]
pub fn predictions(objective: &Objective, outputs: &[f32]) -> Vec<f32> {
    match objective {
        Objective::Classes(names) => outputs
            .chunks_exact(names.len().max(1))
            .map(|row| argmax(row) as f32)
            .collect(),
        Objective::Multilabel(_) | Objective::Score | Objective::NextToken => outputs.to_vec(),
    }
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[best] || row[best].is_nan() && !logit.is_nan() {
            best = class;
        }
    }
    best
}

/// The share of predictions that equal their labels.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn accuracy(predictions: &[f32], labels: &[f32]) -> f64 {
    let hits = pairs(predictions, labels)
        .filter(|(prediction, label)| prediction == label)
        .count();
    hits as f64 / labels.len() as f64
}

/// F1 of class 1: `2·tp / (2·tp + fp + fn)`; 0 when class 1 is neither predicted nor there.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn f1(predictions: &[f32], labels: &[f32]) -> f64 {
    if labels.is_empty() {
        return f64::NAN;
    }
    let both = pairs(predictions, labels)
        .filter(|it| *it == (1.0, 1.0))
        .count();
    let predicted = predictions.iter().filter(|it| **it == 1.0).count();
    let actual = labels.iter().filter(|it| **it == 1.0).count();
    if predicted + actual == 0 {
        0.0
    } else {
        2.0 * both as f64 / (predicted + actual) as f64
    }
}

/// Matthews' correlation coefficient, for any number of classes (Gorodkin, 2004).
///
/// With `n` examples of which `c` are right, `t_k` of class `k` and `p_k` predicted as it:
/// `(c·n − Σ t_k·p_k) / sqrt((n² − Σ p_k²)·(n² − Σ t_k²))`; 0 when the denominator is.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn matthews(predictions: &[f32], labels: &[f32]) -> f64 {
    if labels.is_empty() {
        return f64::NAN;
    }
    let right = pairs(predictions, labels)
        .filter(|(prediction, label)| prediction == label)
        .count();
    let (predicted, actual) = (class_counts(predictions), class_counts(labels));
    let products = |left: &BTreeMap<u32, f64>, right: &BTreeMap<u32, f64>| -> f64 {
        left.iter()
            .map(|(class, count)| count * right.get(class).copied().unwrap_or(0.0))
            .sum()
    };
    let n = labels.len() as f64;
    let covariance = right as f64 * n - products(&predicted, &actual);
    let variances =
        (n * n - products(&predicted, &predicted)) * (n * n - products(&actual, &actual));
    if variances == 0.0 {
        0.0
    } else {
        covariance / variances.sqrt()
    }
}

fn class_counts(classes: &[f32]) -> BTreeMap<u32, f64> {
    let mut counts = BTreeMap::new();
    for class in classes {
        *counts.entry(class.to_bits()).or_insert(0.0) += 1.0;
    }
    counts
}

/// Pearson's correlation coefficient; NaN when either side is constant.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn pearson(predictions: &[f32], labels: &[f32]) -> f64 {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
    correlation(&widen(predictions), &widen(labels))
}

/// Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn spearman(predictions: &[f32], labels: &[f32]) -> f64 {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
    if predictions.iter().chain(labels).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    correlation(&ranks(predictions), &ranks(labels))
}

fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let is_constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if left.len() < 2 || is_constant(left) || is_constant(right) {
        return f64::NAN;
    }
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| value - mean).collect()
    };
    let (left, right) = (centred(left), centred(right));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    // Rounding may carry a perfect correlation past 1.
    (dot(&left, &right) / (dot(&left, &left).sqrt() * dot(&right, &right).sqrt())).clamp(-1.0, 1.0)
}

/// The values' ranks from 1, equal values sharing the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = first as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().for_each(|position| ranks[*position] = mean);
        first += tied.len();
    }
    ranks
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn pairs(predictions: &[f32], labels: &[f32]) -> impl Iterator<Item = (f32, f32)> {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
    predictions.iter().copied().zip(labels.iter().copied())
}
