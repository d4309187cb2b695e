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
#[derive(Debug)]
pub struct VirtualClock<T> {
    now: VirtualTime,
    sequence: u64,
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    due: VirtualTime,
    sequence: u64,
    what: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (VirtualTime, u64) {
        (self.due, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
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
        self.heap.push(Reverse(Entry {
            due: due.max(self.now),
            sequence: self.sequence,
            what,
        }));
        self.sequence += 1;
    }

    /// What comes next.
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.heap.peek().map(|Reverse(entry)| &entry.what)
    }

    /// Moves on to what comes next, and takes it.
    pub fn pop(&mut self) -> Option<T> {
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.due;
        Some(entry.what)
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
    fn time_without_end_saturates() {
        assert_eq!(VirtualTime(5).after(f64::INFINITY), VirtualTime(u64::MAX));
    }
}
