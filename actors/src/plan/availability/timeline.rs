//! One client's windows of availability, found as time advances.

use rand::RngExt;
use rand::distr::Distribution;
use rand_distr::Exp;

use super::{Availability, Interval};
use crate::clock::VirtualTime;
use crate::random::{Stream, StreamKey};

/// A stretch in which a client is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub from: VirtualTime,
    /// The first moment at which it is gone.
    pub until: VirtualTime,
}

/// Finds a client's windows. Questions have to come in the order of time.
#[derive(Debug)]
pub(crate) enum Timeline {
    Always,
    Daily(Daily),
    Markov(Box<Markov>),
    Trace(Vec<Window>),
}

impl Availability {
    /// When the client of this name is there in a run with this seed, up to `until` virtual
    /// seconds: intervals in order. `None`: they are more than `most`.
    #[must_use]
    pub fn intervals(
        &self,
        seed: u64,
        client: &str,
        until: f64,
        most: usize,
    ) -> Option<Vec<Interval>> {
        let mut timeline = self.timeline(seed, client);
        let (mut at, end) = (VirtualTime::default(), VirtualTime::default().after(until));
        let mut intervals = Vec::new();
        while at < end
            && let Some(window) = timeline.window(at)
            && window.from < end
        {
            if intervals.len() == most {
                return None;
            }
            intervals.push(Interval {
                from: window.from.seconds(),
                to: window.until.min(end).seconds(),
            });
            at = window.until;
        }
        Some(intervals)
    }

    /// A client's timeline, at time 0.
    pub(crate) fn timeline(&self, seed: u64, client: &str) -> Timeline {
        let key = StreamKey {
            seed,
            purpose: "availability",
            name: client,
            round: 0,
            attempt: 0,
        };
        Timeline::new(self, key.stream())
    }
}

impl Timeline {
    /// A timeline at time 0, which draws what it has to draw from `stream`.
    pub fn new(availability: &Availability, mut stream: Stream) -> Self {
        match availability {
            Availability::Always => Self::Always,
            &Availability::Daily {
                from,
                to,
                day,
                spread,
            } => {
                let shift = spread * stream.random::<f64>();
                let length = if to > from {
                    to - from
                } else {
                    to + day - from
                };
                Self::Daily(Daily {
                    first: from + shift,
                    length,
                    day,
                })
            }
            &Availability::Markov { mean_on, mean_off } => {
                Self::Markov(Box::new(Markov::new(mean_on, mean_off, stream)))
            }
            Availability::Trace { intervals } => {
                Self::Trace(intervals.iter().copied().map(Window::from).collect())
            }
        }
    }

    /// The window that holds `at`, or else the next one.
    pub fn window(&mut self, at: VirtualTime) -> Option<Window> {
        match self {
            Self::Always => Some(Window {
                from: VirtualTime::default(),
                until: VirtualTime(u64::MAX),
            }),
            Self::Daily(daily) => daily.window(at),
            Self::Markov(markov) => Some(markov.window(at)),
            Self::Trace(windows) => {
                let next = windows.partition_point(|window| window.until <= at);
                windows.get(next).copied()
            }
        }
    }
}

impl From<Interval> for Window {
    fn from(interval: Interval) -> Self {
        let start = VirtualTime::default();
        Self {
            from: start.after(interval.from),
            until: start.after(interval.to),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Daily {
    /// When the first window begins, and how long each is, in seconds.
    first: f64,
    length: f64,
    day: f64,
}

impl Daily {
    fn window(&self, at: VirtualTime) -> Option<Window> {
        let today = ((at.seconds() - self.first) / self.day).floor();
        // A window may have begun the day before.
        (-1..=2).find_map(|offset| {
            let from = self.first + (today + f64::from(offset)) * self.day;
            let window = Window::from(Interval {
                from: from.max(0.0),
                to: from + self.length,
            });
            (window.until > at).then_some(window)
        })
    }
}

#[derive(Debug)]
pub(crate) struct Markov {
    mean_on: f64,
    mean_off: f64,
    stream: Stream,
    window: Window,
}

impl Markov {
    fn new(mean_on: f64, mean_off: f64, mut stream: Stream) -> Self {
        let begins_on = stream.random::<f64>() * (mean_on + mean_off) < mean_on;
        let start = VirtualTime::default();
        let mut markov = Self {
            mean_on,
            mean_off,
            stream,
            window: Window {
                from: start,
                until: start,
            },
        };
        if begins_on {
            markov.window.until = start.after(markov.draw(mean_on));
        }
        markov
    }

    fn draw(&mut self, mean: f64) -> f64 {
        // A mean that was checked gives a rate.
        Exp::new(1.0 / mean).map_or(mean, |d| d.sample(&mut self.stream))
    }

    fn window(&mut self, at: VirtualTime) -> Window {
        // At the end of what the clock can count, there is no later window.
        while self.window.until <= at && self.window.until < VirtualTime(u64::MAX) {
            let from = self.window.until.after(self.draw(self.mean_off));
            let until = from.after(self.draw(self.mean_on));
            self.window = Window { from, until };
        }
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(availability: &Availability) -> Timeline {
        let key = StreamKey {
            seed: 1,
            purpose: "availability",
            name: "a",
            round: 0,
            attempt: 0,
        };
        Timeline::new(availability, key.stream())
    }

    fn seconds(window: Option<Window>) -> (f64, f64) {
        let window = window.unwrap();
        (window.from.seconds(), window.until.seconds())
    }

    fn at(seconds: f64) -> VirtualTime {
        VirtualTime::default().after(seconds)
    }

    #[test]
    fn a_daily_pattern_comes_back_every_day() {
        let mut daily = timeline(&Availability::Daily {
            from: 10.0,
            to: 20.0,
            day: 100.0,
            spread: 0.0,
        });
        assert_eq!(seconds(daily.window(at(0.0))), (10.0, 20.0));
        assert_eq!(seconds(daily.window(at(15.0))), (10.0, 20.0));
        assert_eq!(seconds(daily.window(at(20.0))), (110.0, 120.0));
        assert_eq!(seconds(daily.window(at(511.0))), (510.0, 520.0));
    }

    #[test]
    fn a_night_shift_goes_over_midnight() {
        let mut night = timeline(&Availability::Daily {
            from: 80.0,
            to: 30.0,
            day: 100.0,
            spread: 0.0,
        });
        assert_eq!(seconds(night.window(at(0.0))), (0.0, 30.0));
        assert_eq!(seconds(night.window(at(30.0))), (80.0, 130.0));
        assert_eq!(seconds(night.window(at(129.0))), (80.0, 130.0));
    }

    #[test]
    fn a_trace_is_followed_to_its_end() {
        let intervals = [(1.0, 2.0), (5.0, 6.0)].map(|(from, to)| Interval { from, to });
        let mut trace = timeline(&Availability::Trace {
            intervals: intervals.to_vec(),
        });
        assert_eq!(seconds(trace.window(at(1.5))), (1.0, 2.0));
        assert_eq!(seconds(trace.window(at(2.0))), (5.0, 6.0));
        assert_eq!(trace.window(at(6.0)), None);
    }

    #[test]
    fn a_markov_process_is_on_as_often_as_its_means_say() {
        let mut markov = timeline(&Availability::Markov {
            mean_on: 30.0,
            mean_off: 10.0,
        });
        let on = (0..40_000).filter(|i| {
            let now = at(f64::from(*i));
            markov.window(now).is_some_and(|w| w.from <= now)
        });
        let share = on.count() as f64 / 40_000.0;
        assert!((share - 0.75).abs() < 0.03, "{share}");
    }

    #[test]
    fn a_markov_process_ends_with_the_time_that_the_clock_can_count() {
        let mut markov = timeline(&Availability::Markov {
            mean_on: 1e9,
            mean_off: 1e9,
        });
        let end = VirtualTime(u64::MAX);
        assert_eq!(markov.window(end).map(|window| window.until), Some(end));
    }

    #[test]
    fn always_is_always() {
        let window = timeline(&Availability::Always).window(at(1e9)).unwrap();
        assert_eq!(window.from, VirtualTime(0));
        assert_eq!(window.until, VirtualTime(u64::MAX));
    }

    #[test]
    fn intervals_end_where_they_are_asked_to() {
        let daily = Availability::Daily {
            from: 10.0,
            to: 20.0,
            day: 100.0,
            spread: 0.0,
        };
        let found = daily.intervals(1, "a", 115.0, 2).unwrap();
        let found: Vec<_> = found.iter().map(|i| (i.from, i.to)).collect();
        assert_eq!(found, [(10.0, 20.0), (110.0, 115.0)]);
        assert_eq!(daily.intervals(1, "a", 115.0, 1), None);
        let always = Availability::Always.intervals(1, "a", 5.0, 1).unwrap();
        assert_eq!((always.len(), always[0].to), (1, 5.0));
    }
}
