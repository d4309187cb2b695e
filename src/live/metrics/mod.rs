//! Metrics for Prometheus.
//!
//! [`catalog`] holds every metric's name and meaning; [`observer`] sets them from a run's events,
//! [`sampler`] those that no event carries; [`exporter`] serves them.

pub mod catalog;
pub mod exporter;
pub(crate) mod fleet;
pub mod lanes;
pub mod metric;
pub mod observer;
pub(crate) mod ranking;
pub mod sampler;

#[cfg(test)]
mod tests;
