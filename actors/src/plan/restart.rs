//! How often a failed client is restarted, and after what delay.

use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::plan::errors::PlanErrors;

/// How clients that crash or whose jobs fail are restarted, in the clock in use.
///
/// A client that fails for the n-th time within the window is back after
/// `backoff · 2^(n-1)` seconds, at most `max_backoff`, and takes part again from the next round
/// on. One that fails more often than the budget allows is retired.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// Failures that a client may have within the window.
    pub budget: u32,
    /// Seconds for which a failure counts.
    pub window: f64,
    /// Seconds until a client is back after its first failure.
    pub backoff: f64,
    /// The most seconds until it is back.
    pub max_backoff: f64,
}

impl Default for RestartPolicy {
    /// Three failures an hour; 1 s, 2 s, 4 s.
    fn default() -> Self {
        Self {
            budget: 3,
            window: 3600.0,
            backoff: 1.0,
            max_backoff: 600.0,
        }
    }
}

impl RestartPolicy {
    /// Counts a failure at `now`, forgetting those that count no more. Says when the client is
    /// back; `None`: it is retired.
    pub(crate) fn fail(
        &self,
        failures: &mut Vec<VirtualTime>,
        now: VirtualTime,
    ) -> Option<VirtualTime> {
        failures.retain(|failure| failure.after(self.window) > now);
        failures.push(now);
        let count = failures.len() as u32;
        let seconds = self.backoff * 2f64.powi(count.saturating_sub(1).min(1000) as i32);
        (count <= self.budget).then(|| now.after(seconds.min(self.max_backoff)))
    }

    /// Adds what is wrong with it to `errors`. `path` is its place in the plan.
    pub fn check(&self, path: &str, errors: &mut PlanErrors) {
        errors.positive(self.window, path, "window");
        errors.not_negative(self.backoff, path, "backoff");
        errors.not_negative(self.max_backoff, path, "max_backoff");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_until_the_budget_is_spent_and_old_failures_are_forgotten() {
        let policy = RestartPolicy {
            budget: 3,
            window: 100.0,
            backoff: 2.0,
            max_backoff: 7.0,
        };
        let at = |seconds| VirtualTime::default().after(seconds);
        let mut failures = Vec::new();
        assert_eq!(policy.fail(&mut failures, at(0.0)), Some(at(2.0)));
        assert_eq!(policy.fail(&mut failures, at(10.0)), Some(at(14.0)));
        assert_eq!(policy.fail(&mut failures, at(20.0)), Some(at(27.0)));
        assert_eq!(policy.fail(&mut failures, at(30.0)), None);
        assert_eq!(policy.fail(&mut failures, at(200.0)), Some(at(202.0)));
    }
}
