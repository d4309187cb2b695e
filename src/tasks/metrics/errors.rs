//! How far scores are from the right ones, in float64.

/// The mean squared error; NaN of no examples.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn mse(predictions: &[f32], labels: &[f32]) -> f64 {
    mean(predictions, labels, |difference| difference * difference)
}

/// The mean absolute error; NaN of no examples.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn mae(predictions: &[f32], labels: &[f32]) -> f64 {
    mean(predictions, labels, f64::abs)
}

fn mean(predictions: &[f32], labels: &[f32], of: fn(f64) -> f64) -> f64 {
    assert_eq!(
        predictions.len(),
        labels.len(),
        "as many predictions as labels"
    );
    let pairs = predictions.iter().zip(labels);
    let total: f64 = pairs.map(|(p, l)| of(f64::from(*p) - f64::from(*l))).sum();
    total / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_means_over_the_examples() {
        let (predictions, labels) = ([1.0, 2.0, 5.0], [1.0, 4.0, 4.0]);
        assert!((mse(&predictions, &labels) - 5.0 / 3.0).abs() < 1e-12);
        assert!((mae(&predictions, &labels) - 1.0).abs() < 1e-12);
        assert!(mse(&[], &[]).is_nan() && mae(&[], &[]).is_nan());
    }
}
