//! TODO

pub mod control;
pub mod log;
pub mod metrics;
pub mod page;
pub mod ports;
pub mod tensorboard;
pub(crate) mod terminal;
