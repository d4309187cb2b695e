//! Carries events to the observers, on a separate thread.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::observe::Observer;
use crate::panics::guarded;
use crate::protocol::event::Event;

/// Events that may wait for slow observers before the run waits too.
const WAITING: usize = 4096;

/// The senders' end; cheap to clone. Without observers it does nothing.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    events: Option<Sender<Event>>,
}

impl Bus {
    /// Starts the observers' thread, if there is an observer. It ends after
    /// [`Event::RunFinished`], or when all senders are gone.
    pub fn start(
        observers: Vec<Box<dyn Observer>>,
    ) -> std::io::Result<(Self, Option<JoinHandle<()>>)> {
        if observers.is_empty() {
            return Ok((Self { events: None }, None));
        }
        let (sender, receiver) = bounded(WAITING);
        let thread = thread::Builder::new()
            .name("regatta-events".into())
            .spawn(move || observe(&receiver, observers))?;
        let bus = Self {
            events: Some(sender),
        };
        Ok((bus, Some(thread)))
    }

    /// Notifies the observers; waits while they lag far behind.
    pub fn emit(&self, event: Event) {
        if let Some(events) = &self.events {
            // After the run's last event nobody listens any more.
            let _ = events.send(event);
        }
    }

    /// Notifies the observers unless they lag far behind.
    pub fn offer(&self, event: Event) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }
}

fn observe(events: &Receiver<Event>, mut observers: Vec<Box<dyn Observer>>) {
    for event in events {
        observers.retain_mut(|observer| match guarded(|| observer.on_event(&event)) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!("an observer {reason}; the run continues without it");
                false
            }
        });
        if matches!(event, Event::RunFinished { .. }) {
            return;
        }
    }
}
