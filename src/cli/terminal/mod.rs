//! What a run shows on the terminal.

mod bars;
mod history;
mod observer;
mod output;

pub use observer::TerminalObserver;
pub use output::{Stderr, say, show_bars};

pub use crate::table::count;
