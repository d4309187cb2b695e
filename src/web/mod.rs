//! The live page: a run as it goes on, in a browser, served by the run itself.
//!
//! ```text
//! events ─► Tracker ─► Changes ─┬─► History            bounded; what a page is given first
//!                               └─► every open page    four times a second, over one stream
//! ```
//!
//! A page that is opened, reloaded or connected anew gets the whole [`History`] and then what
//! changes; it never asks for anything else, so it can still be read when the run is over and the
//! process gone. The history is bounded: of a long run it keeps every second round, every fourth
//! and so on, and the latest bars of the timeline.
//!
//! The page can be read by whoever reaches the address. It changes something only where the run is
//! steered at all (`--control`), and then by the rules of [`crate::control`]. What is asked by other
//! web sites is refused, and however many ask, the run goes on ([`crate::ports`]).

mod assets;
mod changes;
mod feed;
mod history;
mod lines;
mod server;
#[cfg(test)]
mod tests;
mod tracker;
mod work;

pub use changes::{
    BarSpan, Changes, ClientStatus, Fate, Level, LogLine, PageStatus, Phase, Point, RoundRow,
};
pub use feed::{Feed, WebObserver};
pub use history::{History, PageClient, PageHeader, Steering};
pub use server::WebServer;
