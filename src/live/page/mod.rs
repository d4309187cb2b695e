//! The live page: a run under way, in a browser, served by the run itself.
//!
//! ```text
//! events ─► Tracker ─► Changes ─┬─► History            bounded; what a page is given first
//!                               └─► every open page    four times a second, over one stream
//! ```
//!
//! A page that is opened, reloaded or reconnected gets the whole [`History`](history::History) and
//! then what changes, so it can still be read when the run is over and the process gone. Only texts
//! that the model wrote are asked for, round by round, and read from the run's folder: the history
//! says of which rounds there are any. The history is bounded: of a long run it keeps every second
//! round, every fourth and so on, and the latest bars of the timeline.
//!
//! The page can be read by anyone who reaches the address. It changes something only where the run
//! is steered at all (`--control`), and then by the rules of [`crate::live::control`]. What is
//! asked by other web sites is refused, and however many ask, the run continues
//! ([`crate::live::ports`]).

pub(crate) mod assets;
pub mod changes;
pub mod feed;
pub mod history;
pub mod hosts;
pub(crate) mod lines;
pub mod observer;
pub mod server;
pub(crate) mod tracker;
pub(crate) mod work;

#[cfg(test)]
mod tests;
