//! What a run shows while it goes on: metrics for Prometheus, and logs.
//!
//! [`catalog`] holds every metric's name and meaning; [`MetricsObserver`] sets them from a run's
//! events, [`Sampler`] those that no event tells of; [`Exporter`] serves them. [`EventLog`] writes
//! the events to the log, [`TensorBoard`] the scalars of a run for that program.

pub mod catalog;
pub mod logging;
pub mod metric;

mod event_log;
mod exporter;
mod fleet;
mod lanes;
mod observer;
mod sampler;
mod tensorboard;
#[cfg(test)]
mod tests;

pub use event_log::EventLog;
pub use exporter::Exporter;
pub use lanes::SharedLanes;
pub use observer::{MetricsObserver, RunInfo};
pub use sampler::Sampler;
pub use tensorboard::TensorBoard;
