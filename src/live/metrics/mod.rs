//! What a run shows while it goes on: metrics for Prometheus, and logs.
//!
//! [`catalog`] holds every metric's name and meaning; [`MetricsObserver`] sets them from a run's
//! events, [`Sampler`] those that no event tells of; [`Exporter`] serves them. [`EventLog`] writes
//! the events to the log, [`TensorBoard`] the scalars of a run for that program.

pub mod catalog;
pub mod exporter;
pub(crate) mod fleet;
pub mod lanes;
pub mod metric;
pub mod observer;
pub mod sampler;

use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// Seconds since 1970, by the machine's clock.
#[must_use]
pub fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
