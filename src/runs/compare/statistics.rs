//! Statistics of differences between paired runs: the confidence interval of their mean, and a sign
//! test.

use std::f64::consts::{FRAC_2_PI, LN_2};

/// The confidence of [`Interval`]s.
pub const CONFIDENCE: f64 = 0.95;

/// The [`CONFIDENCE`] interval of a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower.
    pub low: f64,
    /// The upper.
    pub high: f64,
}

impl Interval {
    /// Of the mean of a sample from a normal distribution, by Student's t; `None` for fewer than two
    /// values, which say nothing of the spread.
    #[must_use]
    pub fn of_mean(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let degrees = u32::try_from(count.checked_sub(1)?)
            .ok()
            .filter(|d| *d > 0)?;
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let deviation = (squares.sum::<f64>() / f64::from(degrees)).sqrt();
        let half = t_quantile(CONFIDENCE, degrees) * deviation / (count as f64).sqrt();
        Some(Self {
            low: mean - half,
            high: mean + half,
        })
    }
}

/// The t for which a variable of Student's distribution with these degrees of freedom, one at least,
/// lies between −t and t with this probability, below 1.
#[must_use]
pub fn t_quantile(probability: f64, degrees: u32) -> f64 {
    let enough = |t: f64| t_probability(t, degrees) >= probability;
    let mut high = 1.0;
    while !enough(high) {
        high *= 2.0;
    }
    let mut low = 0.0;
    // Each step adds a binary digit.
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        match enough(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

/// The probability that a variable of Student's distribution lies between −t and t: the finite sums
/// of Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
fn t_probability(t: f64, degrees: u32) -> f64 {
    let angle = (t / f64::from(degrees).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // Σ over k of (cos² θ)ᵏ (first)(first + 2)… / (first + 1)(first + 3)…, with k terms of each.
    let sum = |first: u32, terms: u32| {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 1..terms {
            let factor = f64::from(first + 2 * (k - 1)) / f64::from(first + 2 * k - 1);
            term *= cosine * cosine * factor;
            sum += term;
        }
        sum
    };
    if degrees.is_multiple_of(2) {
        sine * sum(1, degrees / 2)
    } else if degrees == 1 {
        FRAC_2_PI * angle
    } else {
        FRAC_2_PI * (angle + sine * cosine * sum(2, degrees / 2))
    }
}

/// The probability that a fair coin, thrown as often as there are signs, falls as unevenly as this or
/// more so, to either side: the two-sided sign test. Pairs without a difference have no sign.
#[must_use]
pub fn sign_test(positive: usize, negative: usize) -> f64 {
    let (throws, fewer) = (positive + negative, positive.min(negative));
    // In logarithms, for a power of ½ may be too small for a float64.
    let mut logarithm = -(throws as f64) * LN_2;
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += logarithm.exp();
        logarithm += ((throws - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_t_are_the_tabulated_ones() {
        // Two-sided 95 %: NIST/SEMATECH e-Handbook, table of critical values, 0.975.
        for (degrees, expected) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (9, 2.262),
            (10, 2.228),
            (29, 2.045),
            (30, 2.042),
            (100, 1.984),
        ] {
            let found = t_quantile(0.95, degrees);
            assert!((found - expected).abs() < 6e-4, "{degrees}: {found}");
        }
        // Two-sided 99 % and 90 % of the same table.
        assert!((t_quantile(0.99, 4) - 4.604).abs() < 6e-4);
        assert!((t_quantile(0.90, 5) - 2.015).abs() < 6e-4);
        // The normal distribution's, which it approaches.
        assert!((t_quantile(0.95, 1_000_000) - 1.959_966).abs() < 1e-4);
    }

    #[test]
    fn an_interval_is_the_mean_and_t_standard_errors_to_either_side() {
        let interval = Interval::of_mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        // 3 ± 2.7764 · √2.5 / √5.
        let half = 2.776_445_105 * 0.5f64.sqrt();
        assert!((interval.low - (3.0 - half)).abs() < 1e-8, "{interval:?}");
        assert!((interval.high - (3.0 + half)).abs() < 1e-8, "{interval:?}");
        assert_eq!(Interval::of_mean(&[0.5]), None);
        assert_eq!(Interval::of_mean(&[]), None);
        let same = Interval::of_mean(&[0.5, 0.5]).unwrap();
        assert_eq!((same.low, same.high), (0.5, 0.5));
    }

    #[test]
    fn the_sign_test_is_the_exact_binomial() {
        for (positive, negative, expected) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (5, 0, 2.0 / 32.0),
            (0, 5, 2.0 / 32.0),
            (4, 1, 12.0 / 32.0),
            (3, 2, 1.0),
            (10, 2, 158.0 / 4096.0),
            (600, 600, 1.0),
        ] {
            let found = sign_test(positive, negative);
            assert!(
                (found - expected).abs() < 1e-12,
                "{positive} {negative}: {found}"
            );
        }
        // 2 · 0.5²⁰⁰⁰ is too small for a float64.
        assert_eq!(sign_test(2000, 0), 0.0);
        assert!(sign_test(1100, 900) < 1e-5);
    }
}
