//! Values of many clients: their quantiles and their order, also where some are not numbers.

use crate::live::metrics::metric::Gauge;

const QUANTILES: [(&str, f64); 5] = [
    ("0", 0.0),
    ("0.1", 0.1),
    ("0.5", 0.5),
    ("0.9", 0.9),
    ("1", 1.0),
];

/// Sets a gauge to quantiles of the values, by nearest rank. What is not finite does not count,
/// unless there is nothing else: the quantiles are then not a number.
pub(crate) fn set_quantiles(gauge: &Gauge<1>, values: impl Iterator<Item = f64>) {
    let (mut sorted, others): (Vec<f64>, Vec<f64>) = values.partition(|value| value.is_finite());
    if sorted.is_empty() && !others.is_empty() {
        sorted.push(f64::NAN);
    }
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return;
    };
    for (label, quantile) in QUANTILES {
        gauge.set([label], sorted[(last as f64 * quantile).round() as usize]);
    }
}

/// The value, of a sign by which `total_cmp` has it above all others if it is not a number.
pub(crate) fn comparable(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}
