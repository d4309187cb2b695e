//! What the live page, the metrics and the control line have in common: ports that others may
//! connect to, and that harm the run in no way.
//!
//! ```text
//! Listener ─► Slots ─► Connection ─┬─► http       the page, the metrics
//!                                  └─► control    a line of JSON each way
//! ```
//!
//! * However many connect, a port has at most as many connections as [`Bounds`](bounds::Bounds) gives it, which is
//!   a share of the file handles that the process may have. Whoever comes last is let in, and the
//!   connection that has waited for longest without an answer makes room, so that connections which
//!   send nothing block no one.
//! * A connection that was not answered within seconds is closed, whether it says nothing, asks
//!   byte by byte or does not read.
//! * What anybody can cause without limit is logged as a [`Warning`](warning::Warning): once, and then as a count.
//! * What a web site has a browser ask for is refused ([`guard`]).
//!
//! Each port has its own thread and runtime, and nothing waits for it.

pub mod bounds;
pub mod connection;
pub mod guard;
pub mod http;
pub mod listener;
pub(crate) mod slots;
pub mod warning;

#[cfg(test)]
mod tests;
