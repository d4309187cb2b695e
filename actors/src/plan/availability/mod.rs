//! When a client can take part: always, by the time of day, by chance, or as a trace says.

pub(crate) mod timeline;

use serde::{Deserialize, Serialize};

use crate::plan::problems::Problems;

/// When a client can take part, in virtual time. One that goes away while it works drops out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Availability {
    /// At all times.
    #[default]
    Always,
    /// Once a day.
    Daily {
        /// Seconds after midnight from which on it is there. The run starts at midnight.
        from: f64,
        /// Seconds after midnight at which it goes; before `from`: on the next day.
        to: f64,
        /// Seconds of a day.
        #[serde(default = "day")]
        day: f64,
        /// Each client's pattern is shifted by up to this many seconds, drawn from the run's seed.
        #[serde(default)]
        spread: f64,
    },
    /// On and off in turn, each for a time drawn from an exponential distribution: a Markov
    /// process with two states, started in its stationary distribution.
    Markov {
        /// Mean seconds on.
        mean_on: f64,
        /// Mean seconds off.
        mean_off: f64,
    },
    /// In these intervals, in order.
    Trace {
        /// The intervals.
        intervals: Vec<Interval>,
    },
}

fn day() -> f64 {
    86_400.0
}

/// A stretch of virtual time, in seconds since the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Its beginning.
    pub from: f64,
    /// Its end.
    pub to: f64,
}

impl Availability {
    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        match self {
            Self::Always => {}
            Self::Daily {
                from,
                to,
                day,
                spread,
            } => {
                problems.positive(*day, path, "day");
                let ok = |x: f64| (0.0..=*day).contains(&x);
                problems.require(ok(*from), path, "from", "must lie within a day");
                problems.require(ok(*to), path, "to", "must lie within a day");
                problems.require(from != to, path, "to", "must differ from `from`");
                problems.not_negative(*spread, path, "spread");
            }
            Self::Markov { mean_on, mean_off } => {
                problems.positive(*mean_on, path, "mean_on");
                problems.positive(*mean_off, path, "mean_off");
            }
            Self::Trace { intervals } => check_intervals(intervals, path, problems),
        }
    }
}

fn check_intervals(intervals: &[Interval], path: &str, problems: &mut Problems) {
    let mut end = 0.0;
    for (i, interval) in intervals.iter().enumerate() {
        let field = format!("intervals[{i}]");
        let ok = interval.to.is_finite() && interval.from < interval.to;
        problems.require(ok, path, &field, "must end after it begins");
        let ok = interval.from >= end;
        problems.require(ok, path, &field, "must begin after the previous one ended");
        end = interval.to;
    }
}
