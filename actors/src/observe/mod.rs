//! Seeing and steering a run: observers of its events, its boards, its control line.

pub mod board;
pub(crate) mod bus;
pub mod control;
pub mod hosts;

use crate::protocol::event::Event;

/// Sees a run's events, one after the other, on a separate thread.
///
/// A slow one eventually delays the run. One that panics is dropped. One
/// that cannot do its duty (for example a full disk) stops the run through a
/// [`ControlHandle`](crate::observe::control::ControlHandle).
pub trait Observer: Send {
    /// Called with each event.
    fn on_event(&mut self, event: &Event);
}

impl<F: FnMut(&Event) + Send> Observer for F {
    fn on_event(&mut self, event: &Event) {
        self(event);
    }
}
