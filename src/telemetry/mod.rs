//! What a run shows while it goes on: metrics for Prometheus, and logs.
//!
//! [`catalog`] holds every metric's name and meaning; [`MetricsObserver`] sets them from a run's
//! events, [`Exporter`] serves them.

pub mod catalog;
pub mod logging;
pub mod metric;

mod exporter;
mod observer;
#[cfg(test)]
mod tests;

pub use exporter::Exporter;
pub use observer::{MetricsObserver, RunInfo};
