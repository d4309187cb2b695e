//! Warnings of what anybody who reaches a port can cause as often as they like.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// At most one line in this time tells what happened, and one how often more.
const PERIOD: Duration = Duration::from_secs(60);

/// A warning that is logged once, and then as a count each minute in which it came again; cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Warning {
    what: Arc<str>,
    throttle: Arc<Mutex<Throttle>>,
}

impl Warning {
    /// A warning of this, which has yet to happen.
    #[must_use]
    pub fn of(what: impl Into<Arc<str>>) -> Self {
        Self {
            what: what.into(),
            throttle: Arc::default(),
        }
    }

    /// It happened.
    pub fn happened(&self) {
        self.tell(format_args!("{}", self.what));
    }

    /// It happened, for this reason.
    pub fn because(&self, reason: impl fmt::Display) {
        self.tell(format_args!("{}: {reason}", self.what));
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.tell_count();
        if self.lock().happened(Instant::now()) {
            tracing::warn!("{line}");
        }
    }

    /// Logs how often it came again, once the minute is over. To be called now and then.
    pub fn tell_count(&self) {
        let more = self.lock().due(Instant::now());
        self.count(more);
    }

    fn count(&self, more: Option<u64>) {
        if let Some(more) = more {
            let (what, seconds) = (&self.what, PERIOD.as_secs());
            tracing::warn!("{what}: {} more in the last {seconds} s", grouped(more));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Counts what is not reported.
#[derive(Debug, Default)]
struct Throttle {
    /// The start of the period in which something was already reported.
    since: Option<Instant>,
    more: u64,
}

impl Throttle {
    /// It happened: whether to tell.
    fn happened(&mut self, now: Instant) -> bool {
        if self.since.is_some() {
            self.more += 1;
            return false;
        }
        self.since = Some(now);
        true
    }

    /// What was counted, if the period is over and there is something; a new period begins then.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let since = self.since?;
        if now.saturating_duration_since(since) < PERIOD {
            return None;
        }
        let more = std::mem::take(&mut self.more);
        self.since = (more > 0).then_some(now);
        (more > 0).then_some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_rest_counted_once_a_minute() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = (0..100_000).filter(|_| throttle.happened(at(1))).count();
        assert_eq!((told, throttle.due(at(60))), (1, None));
        assert_eq!(throttle.due(at(61)), Some(99_999));
        // The flood continues: only the count is reported.
        assert!(!throttle.happened(at(62)));
        assert_eq!(throttle.due(at(121)), Some(1));
        // A minute of silence, and it is news again.
        assert_eq!(throttle.due(at(181)), None);
        assert!(throttle.happened(at(182)));
    }

    #[test]
    fn large_counts_can_be_read() {
        for (number, text) in [
            (7, "7"),
            (999, "999"),
            (4321, "4,321"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
