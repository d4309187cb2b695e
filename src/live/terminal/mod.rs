//! What a run shows on the terminal.

pub(crate) mod bars;
pub(crate) mod history;
pub mod observer;
pub mod output;
