//! The terminal output of a run.

pub(crate) mod bars;
pub(crate) mod history;
pub(crate) mod line;
pub mod observer;
pub mod output;
