//! Virtual time: a clock that jumps from one thing due to the next.
//!
//! What happens in a run is decided here, from the plan, never from measured time. Things due at
//! the same time come in the order in which they were scheduled.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// A point in virtual time: nanoseconds since the run's start.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VirtualTime(pub u64);

impl VirtualTime {
    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The point `seconds` later, to the nanosecond; the end of time when that is further than it
    /// can count (584 years).
    #[must_use]
    pub fn after(self, seconds: f64) -> Self {
        // A float-to-integer cast saturates.
        Self(self.0.saturating_add((seconds * 1e9).round() as u64))
    }
}

/// The clock and all that is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    from = "Saved<T>",
    into = "Saved<T>",
    bound(serialize = "T: Serialize + Clone")
)]
pub struct VirtualClock<T> {
    now: VirtualTime,
    sequence: u64,
    heap: BinaryHeap<Reverse<DueEntry<T>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct DueEntry<T> {
    due: VirtualTime,
    sequence: u64,
    what: T,
}

impl<T> DueEntry<T> {
    fn key(&self) -> (VirtualTime, u64) {
        (self.due, self.sequence)
    }
}

impl<T> PartialEq for DueEntry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for DueEntry<T> {}

impl<T> PartialOrd for DueEntry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for DueEntry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A clock as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(rename = "VirtualClock")]
struct Saved<T> {
    now: VirtualTime,
    sequence: u64,
    due: Vec<DueEntry<T>>,
}

impl<T> From<Saved<T>> for VirtualClock<T> {
    fn from(saved: Saved<T>) -> Self {
        Self {
            now: saved.now,
            sequence: saved.sequence,
            heap: saved.due.into_iter().map(Reverse).collect(),
        }
    }
}

impl<T> From<VirtualClock<T>> for Saved<T> {
    fn from(clock: VirtualClock<T>) -> Self {
        let mut due: Vec<_> = clock.heap.into_iter().map(|Reverse(entry)| entry).collect();
        due.sort();
        Self {
            now: clock.now,
            sequence: clock.sequence,
            due,
        }
    }
}

impl<T> Default for VirtualClock<T> {
    fn default() -> Self {
        Self {
            now: VirtualTime::default(),
            sequence: 0,
            heap: BinaryHeap::new(),
        }
    }
}

impl<T> VirtualClock<T> {
    /// The present.
    #[must_use]
    pub fn now(&self) -> VirtualTime {
        self.now
    }

    /// Has `what` happen at `due`, or now if that is past.
    pub fn schedule(&mut self, due: VirtualTime, what: T) {
        self.heap.push(Reverse(DueEntry {
            due: due.max(self.now),
            sequence: self.sequence,
            what,
        }));
        self.sequence += 1;
    }

    /// The next item, with the time it was due.
    #[must_use]
    pub fn peek(&self) -> Option<(VirtualTime, &T)> {
        let Reverse(entry) = self.heap.peek()?;
        Some((entry.due, &entry.what))
    }

    /// Advances to the next item, and takes it.
    pub fn pop(&mut self) -> Option<T> {
        let Reverse(entry) = self.heap.pop()?;
        self.advance_to(entry.due);
        Some(entry.what)
    }

    /// Moves on to `time`, unless that is past. What was due until then is overdue.
    pub fn advance_to(&mut self, time: VirtualTime) {
        self.now = self.now.max(time);
    }

    /// Forgets what is due unless it is to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.heap.retain(|Reverse(entry)| keep(&entry.what));
    }

    /// Changes what is due, but not when.
    pub fn change(&mut self, mut change: impl FnMut(&mut T)) {
        let entries = std::mem::take(&mut self.heap).into_iter();
        let changed = entries.map(|Reverse(mut entry)| {
            change(&mut entry.what);
            Reverse(entry)
        });
        self.heap = changed.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_by_due_time_then_in_scheduling_order() {
        let mut clock = VirtualClock::default();
        let start = clock.now();
        clock.schedule(start.after(2.0), "late");
        clock.schedule(start.after(1.0), "first");
        clock.schedule(start.after(1.0), "second");
        assert_eq!(clock.pop(), Some("first"));
        assert_eq!(clock.now().seconds(), 1.0);
        clock.schedule(start, "overdue");
        assert_eq!(clock.pop(), Some("second"));
        assert_eq!(clock.pop(), Some("overdue"));
        assert_eq!(clock.now().seconds(), 1.0);
        assert_eq!(clock.pop(), Some("late"));
        assert_eq!(clock.pop(), None);
        assert_eq!(clock.now().seconds(), 2.0);
    }

    #[test]
    fn a_clock_that_was_written_down_goes_on_the_same() {
        let mut clock = VirtualClock::default();
        for (seconds, what) in [(3.0, 3), (1.0, 0), (1.0, 1), (2.0, 2)] {
            clock.schedule(VirtualTime::default().after(seconds), what);
        }
        assert_eq!(clock.pop(), Some(0));
        let json = serde_json::to_string(&clock).unwrap();
        let mut again: VirtualClock<i32> = serde_json::from_str(&json).unwrap();
        assert_eq!(again.now(), clock.now());
        for expected in 1..4 {
            assert_eq!(again.pop(), Some(expected));
        }
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = VirtualClock::default();
        clock.schedule(VirtualTime(5), ());
        clock.advance_to(VirtualTime(9));
        assert_eq!(clock.pop(), Some(()));
        assert_eq!(clock.now(), VirtualTime(9));
    }

    #[test]
    fn time_without_end_saturates() {
        assert_eq!(VirtualTime(5).after(f64::INFINITY), VirtualTime(u64::MAX));
    }
}
