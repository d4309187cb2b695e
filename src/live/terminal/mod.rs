//! The terminal output of a run.

pub(crate) mod bars;
pub(crate) mod history;
pub mod observer;
pub mod output;
