//! Which of a port's connections stay, decided without a socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a new connection may take to make a whole request.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long a connection that was answered may take to make the next request, or to read a part of
/// an answer.
pub(crate) const NEXT_REQUEST: Duration = Duration::from_secs(5);
/// How long a stream's reader may leave a message unread when no more fit on the way to it.
pub(crate) const UNREAD: Duration = Duration::from_secs(10);

/// A connection's number; none comes twice.
pub(crate) type SlotNumber = u64;

/// The connections of a port, each with its own `T`.
///
/// Bytes are written to a connection only in answer to a whole request, so the time of the last
/// byte written tells those who ask from those who only keep a place.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    capacity: usize,
    next: SlotNumber,
    open: BTreeMap<SlotNumber, Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    what: T,
    /// When a byte was last written, or, before that, when the connection was made.
    progress: Instant,
    answered: bool,
    /// Since when the peer has had no room for what is to be written.
    blocked: Option<Instant>,
    /// Whether it is a stream, on which nothing may happen for long.
    held: bool,
}

impl<T> Slots<T> {
    /// Room for N connections; at least for two.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(2),
            next: 0,
            open: BTreeMap::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of connections.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Makes room for one more connection where there is none: removes and returns the one
    /// that has waited for longest since its last answer. Streams stay; there is always another,
    /// since they are at most half of all.
    pub(crate) fn make_room(&mut self) -> Option<T> {
        if self.open.len() < self.capacity {
            return None;
        }
        let waiting = self.open.iter().filter(|(_, slot)| !slot.held);
        let longest = waiting.min_by_key(|(_, slot)| slot.progress);
        let number = *longest?.0;
        self.open.remove(&number).map(|slot| slot.what)
    }

    /// Takes a connection in.
    pub(crate) fn admit(&mut self, what: T, now: Instant) -> SlotNumber {
        let number = self.next;
        self.next += 1;
        let slot = Slot {
            what,
            progress: now,
            answered: false,
            blocked: None,
            held: false,
        };
        self.open.insert(number, slot);
        number
    }

    /// A part of an answer was written.
    pub(crate) fn wrote(&mut self, number: SlotNumber, now: Instant) {
        if let Some(slot) = self.open.get_mut(&number) {
            slot.progress = now;
            slot.answered = true;
            slot.blocked = None;
        }
    }

    /// A part of an answer could not be written: the peer does not read.
    pub(crate) fn could_not_write(&mut self, number: SlotNumber, now: Instant) {
        if let Some(slot) = self.open.get_mut(&number) {
            slot.blocked.get_or_insert(now);
        }
    }

    /// Makes a connection a stream, which may stay for as long as it is read, or refuses to: half
    /// of the port is for streams.
    pub(crate) fn hold(&mut self, number: SlotNumber) -> bool {
        let held = self.open.values().filter(|slot| slot.held).count();
        match self.open.get_mut(&number) {
            Some(slot) if slot.held || held < self.capacity / 2 => {
                slot.held = true;
                true
            }
            _ => false,
        }
    }

    /// The stream is over.
    pub(crate) fn let_go(&mut self, number: SlotNumber, now: Instant) {
        if let Some(slot) = self.open.get_mut(&number) {
            slot.held = false;
            slot.progress = now;
        }
    }

    /// The connection is gone.
    pub(crate) fn remove(&mut self, number: SlotNumber) {
        self.open.remove(&number);
    }

    /// Removes and returns the connections whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<T> {
        let over = |slot: &Slot<T>| {
            let waited = |since: Instant| now.saturating_duration_since(since);
            match (slot.held, slot.answered) {
                (true, _) => slot.blocked.is_some_and(|since| waited(since) >= UNREAD),
                (false, true) => waited(slot.progress) >= NEXT_REQUEST,
                (false, false) => waited(slot.progress) >= FIRST_REQUEST,
            }
        };
        let expired = self.open.iter().filter(|(_, slot)| over(slot));
        let expired: Vec<SlotNumber> = expired.map(|(number, _)| *number).collect();
        let out = expired.iter().filter_map(|it| self.open.remove(it));
        out.map(|slot| slot.what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn whoever_comes_last_is_let_in_and_the_one_that_waited_longest_goes() {
        let (mut slots, start) = (Slots::new(3), Instant::now());
        let numbers: Vec<SlotNumber> = (0..3)
            .map(|i| {
                assert_eq!(slots.make_room(), None);
                slots.admit(i, after(start, i))
            })
            .collect();
        // The first has been answered since, so the second goes.
        slots.wrote(numbers[0], after(start, 10));
        assert_eq!(slots.make_room(), Some(1));
        slots.admit(3, after(start, 11));
        assert_eq!(slots.make_room(), Some(2));
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn a_flood_never_makes_more_connections_than_there_is_room_for() {
        let (mut slots, start) = (Slots::new(64), Instant::now());
        for i in 0..1100 {
            slots.make_room();
            slots.admit(i, after(start, i));
            assert!(slots.len() <= 64);
        }
        // Who came last is there, with as many as fit before.
        assert_eq!(slots.make_room(), Some(1100 - 64));
    }

    #[test]
    fn streams_are_at_most_half_and_are_not_taken_for_idle() {
        let (mut slots, start) = (Slots::new(4), Instant::now());
        let numbers: Vec<SlotNumber> = (0..4).map(|i| slots.admit(i, start)).collect();
        let held: Vec<bool> = numbers.iter().map(|number| slots.hold(*number)).collect();
        assert_eq!(held, [true, true, false, false]);
        assert!(slots.hold(numbers[0]), "it is one already");
        assert_eq!(slots.make_room(), Some(2));
        assert_eq!(slots.expire(after(start, 3_600_000)), [3]);
        slots.let_go(numbers[0], start);
        let next = slots.admit(4, start);
        assert!(slots.hold(next));
    }

    #[test]
    fn a_connection_without_a_request_goes_after_two_seconds_and_an_answered_one_after_five() {
        let (mut slots, start) = (Slots::new(8), Instant::now());
        let _silent = slots.admit("silent", start);
        let answered = slots.admit("answered", start);
        slots.wrote(answered, after(start, 1000));
        assert!(slots.expire(after(start, 1999)).is_empty());
        assert_eq!(slots.expire(after(start, 2000)), ["silent"]);
        assert!(slots.expire(after(start, 5999)).is_empty());
        assert_eq!(slots.expire(after(start, 6000)), ["answered"]);
        assert_eq!(slots.len(), 0);
    }

    #[test]
    fn a_stream_whose_reader_reads_nothing_goes_after_ten_seconds() {
        let (mut slots, start) = (Slots::new(8), Instant::now());
        for (what, reads) in [("reads", true), ("does not", false)] {
            let number = slots.admit(what, start);
            assert!(slots.hold(number));
            slots.could_not_write(number, after(start, 100_000));
            slots.could_not_write(number, after(start, 105_000));
            if reads {
                slots.wrote(number, after(start, 106_000));
            }
        }
        assert!(slots.expire(after(start, 109_999)).is_empty());
        assert_eq!(slots.expire(after(start, 110_000)), ["does not"]);
        assert!(slots.expire(after(start, 900_000)).is_empty());
    }

    #[test]
    fn what_is_told_of_a_connection_that_is_gone_changes_nothing() {
        let (mut slots, start) = (Slots::new(2), Instant::now());
        let number = slots.admit("gone", start);
        slots.remove(number);
        slots.wrote(number, start);
        slots.could_not_write(number, start);
        slots.let_go(number, start);
        slots.remove(number);
        assert!(!slots.hold(number));
        assert_eq!(slots.len(), 0);
    }
}
