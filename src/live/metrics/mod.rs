//! What a running run shows: metrics for Prometheus, and logs.
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

#[cfg(test)]
mod tests;
