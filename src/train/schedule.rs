//! The learning rate of one round.

/// Warms up linearly over `int(warmup_ratio · steps)` steps, then decays linearly to 0 at the end
/// of the round: transformers' `get_linear_schedule_with_warmup`, fresh each round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearSchedule {
    peak: f64,
    warmup: u64,
    steps: u64,
}

impl LinearSchedule {
    /// A round of N steps.
    #[must_use]
    pub fn new(peak: f64, warmup_ratio: f64, steps: u64) -> Self {
        Self {
            peak,
            warmup: (warmup_ratio * steps as f64) as u64,
            steps,
        }
    }

    /// The rate of a step, from 0.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let (left, decay) = (self.steps.saturating_sub(step), self.steps - self.warmup);
        self.peak * left as f64 / decay.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_from_zero_to_the_peak_and_falls_to_zero() {
        let schedule = LinearSchedule::new(1.0, 0.25, 8);
        let rates: Vec<f64> = (0..=8).map(|step| schedule.rate(step)).collect();
        let decay = |left: f64| left / 6.0;
        let expected = [
            0.0,
            0.5,
            1.0,
            decay(5.0),
            decay(4.0),
            decay(3.0),
            decay(2.0),
            decay(1.0),
            0.0,
        ];
        for (got, want) in rates.iter().zip(expected) {
            assert!((got - want).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn warm_up_is_cut_to_whole_steps() {
        assert_eq!(LinearSchedule::new(1.0, 0.06, 16).rate(0), 1.0);
        assert_eq!(LinearSchedule::new(1.0, 0.06, 17).rate(0), 0.0);
    }
}
