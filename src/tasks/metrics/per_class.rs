//! Means over classes, in which a rare class counts as much as a common one, as scikit-learn computes
//! them, in float64.

use std::collections::BTreeMap;

/// What became of a class: how many examples it has, how many were taken for it, and how many of
/// both.
#[derive(Debug, Clone, Copy, Default)]
struct ClassCounts {
    actual: u64,
    predicted: u64,
    right: u64,
}

/// The mean of the classes' F1 (scikit-learn's `f1_score` with `average="macro"`), over those that an
/// example has or was taken for. NaN of no examples.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn macro_f1(predictions: &[f32], labels: &[f32]) -> f64 {
    let counts = counts(predictions, labels);
    mean(counts.iter().map(|class| {
        // At least one of the two is not 0.
        2.0 * class.right as f64 / (class.actual + class.predicted) as f64
    }))
}

/// The mean of the classes' recalls (scikit-learn's `balanced_accuracy_score`), over those that an
/// example has. NaN of no examples.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn balanced_accuracy(predictions: &[f32], labels: &[f32]) -> f64 {
    let counts = counts(predictions, labels);
    let present = counts.iter().filter(|class| class.actual > 0);
    mean(present.map(|class| class.right as f64 / class.actual as f64))
}

fn counts(predictions: &[f32], labels: &[f32]) -> Vec<ClassCounts> {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
    let mut counts = BTreeMap::<u32, ClassCounts>::new();
    for (prediction, label) in predictions.iter().zip(labels) {
        counts.entry(label.to_bits()).or_default().actual += 1;
        let predicted = counts.entry(prediction.to_bits()).or_default();
        predicted.predicted += 1;
        predicted.right += u64::from(prediction == label);
    }
    counts.into_values().collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    values.for_each(|value| {
        sum += value;
        count += 1.0;
    });
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scikit-learn 1.9.
    #[test]
    fn means_over_classes_are_those_of_scikit_learn() {
        let labels = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0];
        let predictions = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 3.0];
        // F1: 0.75, 0.5, 0 and 0 of a class that only predictions have.
        assert!((macro_f1(&predictions, &labels) - 0.3125).abs() < 1e-12);
        // Recalls: 0.75, 0.5 and 0.
        let recall = 1.25 / 3.0;
        assert!((balanced_accuracy(&predictions, &labels) - recall).abs() < 1e-12);
    }

    #[test]
    fn a_model_that_always_gives_the_commonest_class_is_no_better_than_chance() {
        let labels: Vec<f32> = (0..100).map(|at| f32::from(u8::from(at < 5))).collect();
        let always = vec![0.0; 100];
        assert_eq!(balanced_accuracy(&always, &labels), 0.5);
        assert!(macro_f1(&always, &labels) < 0.5);
        assert!(macro_f1(&[], &[]).is_nan() && balanced_accuracy(&[], &[]).is_nan());
    }
}
