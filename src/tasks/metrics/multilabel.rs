//! Metrics of examples with any number of labels, as scikit-learn computes them of indicator
//! matrices, in float64. Both matrices are row-major, (examples, labels): 1 where an example has a
//! label. Of no examples all are NaN.

/// A score by its metric's name: `micro_f1`, `macro_f1` or `subset_accuracy`.
///
/// # Panics
/// If the matrices differ in size.
#[must_use]
pub fn score(metric: &str, predictions: &[f32], labels: &[f32], width: usize) -> f64 {
    match metric {
        "micro_f1" => micro_f1(predictions, labels),
        "macro_f1" => macro_f1(predictions, labels, width),
        _ => subset_accuracy(predictions, labels, width),
    }
}

/// Which labels a model's logits predict, row-major: those that are likelier than not.
#[must_use]
pub fn predictions(outputs: &[f32]) -> Vec<f32> {
    let likely = |logit: &f32| f32::from(u8::from(*logit > 0.0));
    outputs.iter().map(likely).collect()
}

/// F1 over all pairs of an example and a label: `2·tp / (2·tp + fp + fn)`; 0 when none is there and
/// none predicted.
///
/// # Panics
/// If the matrices differ in size.
#[must_use]
pub fn micro_f1(predictions: &[f32], labels: &[f32]) -> f64 {
    check(predictions, labels);
    match labels {
        [] => f64::NAN,
        _ => f1(predictions.iter().zip(labels)),
    }
}

/// The mean of the labels' F1; a label that no example has and none is predicted to have counts as
/// 0.
///
/// # Panics
/// If the matrices differ in size.
#[must_use]
pub fn macro_f1(predictions: &[f32], labels: &[f32], width: usize) -> f64 {
    check(predictions, labels);
    if labels.is_empty() {
        return f64::NAN;
    }
    let of_label = |label: usize| {
        let column = |matrix| <[f32]>::iter(matrix).skip(label).step_by(width);
        f1(column(predictions).zip(column(labels)))
    };
    (0..width).map(of_label).sum::<f64>() / width as f64
}

/// The share of examples all of whose labels are predicted, and no other.
///
/// # Panics
/// If the matrices differ in size.
#[must_use]
pub fn subset_accuracy(predictions: &[f32], labels: &[f32], width: usize) -> f64 {
    check(predictions, labels);
    let rows = predictions.chunks(width).zip(labels.chunks(width));
    let right = rows.filter(|(predicted, actual)| predicted == actual);
    right.count() as f64 / (labels.len() / width.max(1)) as f64
}

fn f1<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (mut both, mut either) = (0.0, 0.0);
    for (prediction, label) in pairs {
        both += f64::from(u8::from(*prediction == 1.0 && *label == 1.0));
        either += f64::from(*prediction) + f64::from(*label);
    }
    if either == 0.0 {
        return 0.0;
    }
    2.0 * both / either
}

fn check(predictions: &[f32], labels: &[f32]) {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [f32; 12] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    const OUTPUTS: [f32; 12] = [
        2.0, -1.0, -3.0, 0.5, -0.1, -2.0, -1.0, -1.0, -9.0, 0.1, 4.0, -0.0,
    ];

    /// Values of scikit-learn 1.9: `f1_score(…, average=…)` and `accuracy_score`.
    #[test]
    fn scores_are_those_of_scikit_learn() {
        let predicted = predictions(&OUTPUTS);
        let score = |metric| score(metric, &predicted, &LABELS, 3);
        // True positives 3, false ones 1, missed 1.
        assert!((score("micro_f1") - 0.75).abs() < 1e-12);
        // The labels' own: 1, 0 and 0.
        assert!((score("macro_f1") - 1.0 / 3.0).abs() < 1e-12);
        assert!((score("subset_accuracy") - 0.5).abs() < 1e-12);
    }

    #[test]
    fn no_examples_have_no_score_and_no_labels_at_all_score_nothing() {
        for metric in ["micro_f1", "macro_f1", "subset_accuracy"] {
            assert!(score(metric, &[], &[], 3).is_nan(), "{metric}");
        }
        assert_eq!(micro_f1(&[0.0; 6], &[0.0; 6]), 0.0);
        assert_eq!(subset_accuracy(&[0.0; 6], &[0.0; 6], 3), 1.0);
    }
}
