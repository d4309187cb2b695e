//! When a client can take part: always, by the time of day, by chance, or as a trace says.

pub(crate) mod timeline;

use serde::{Deserialize, Serialize};

use crate::plan::errors::PlanErrors;

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

impl Interval {
    /// Checks it as the next of a client's intervals, whose previous one ended at `end` seconds;
    /// 0 for the first.
    ///
    /// # Errors
    /// What it must be.
    pub fn check(&self, end: f64) -> Result<(), String> {
        if !(self.to.is_finite() && self.from < self.to) {
            Err("must end after it begins".to_owned())
        } else if self.from < end {
            Err(format!(
                "must not begin before {end} (a client's intervals come in order)"
            ))
        } else {
            Ok(())
        }
    }
}

impl Availability {
    pub(crate) fn check(&self, path: &str, errors: &mut PlanErrors) {
        match self {
            Self::Always => {}
            Self::Daily {
                from,
                to,
                day,
                spread,
            } => {
                errors.positive(*day, path, "day");
                errors.not_negative(*spread, path, "spread");
                let within = |time: f64| (0.0..=*day).contains(&time);
                for (time, field) in [(*from, "from"), (*to, "to")] {
                    errors.require(within(time), path, field, "must lie within a day");
                }
                errors.require(from != to, path, "to", "must differ from `from`");
            }
            Self::Markov { mean_on, mean_off } => {
                errors.positive(*mean_on, path, "mean_on");
                errors.positive(*mean_off, path, "mean_off");
            }
            Self::Trace { intervals } => check_intervals(intervals, path, errors),
        }
    }
}

fn check_intervals(intervals: &[Interval], path: &str, errors: &mut PlanErrors) {
    let mut end = 0.0;
    for (i, interval) in intervals.iter().enumerate() {
        if let Err(message) = interval.check(end) {
            errors.add(format!("{path}.intervals[{i}]"), message);
        }
        end = interval.to;
    }
}
