//! How long coordinator and hosts wait for each other.

use std::time::Duration;

/// Waits of a coordinator and its hosts. The defaults are for real networks; tests take less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time between two signs of life.
    pub beat: Duration,
    /// Time without a sign of life after which a host is taken for gone.
    pub silence: Duration,
    /// Time between two looks at the broker's queue.
    pub look: Duration,
    /// Pause before something that failed is tried again.
    pub retry: Duration,
    /// Time without any lane after which a run ends; it can be resumed.
    pub without_lanes: Duration,
    /// Time without a coordinator after which a host leaves.
    pub without_coordinator: Duration,
    /// Time without an answer after which a host no longer expects to be invited into a run.
    pub without_invitation: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            look: Duration::from_secs(5),
            retry: Duration::from_millis(500),
            without_lanes: Duration::from_secs(30 * 60),
            without_coordinator: Duration::from_secs(30 * 60),
            without_invitation: Duration::from_secs(10),
        }
    }
}
