//! The watchdog: reports lanes that make no progress, in wall time. It decides nothing.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::learner::{ClientId, LaneId};

/// What one lane shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat(Mutex<Option<Busy>>);

#[derive(Debug, Clone, Copy)]
struct Busy {
    client: ClientId,
    last_beat: Instant,
    reported: bool,
}

impl Heartbeat {
    /// A job begins.
    pub fn begin(&self, client: ClientId) {
        self.set(Some(Busy {
            client,
            last_beat: Instant::now(),
            reported: false,
        }));
    }

    /// The job does another batch.
    pub fn beat(&self) {
        if let Ok(mut busy) = self.0.lock()
            && let Some(busy) = busy.as_mut()
        {
            busy.last_beat = Instant::now();
            busy.reported = false;
        }
    }

    /// The job ends.
    pub fn end(&self) {
        self.set(None);
    }

    fn set(&self, busy: Option<Busy>) {
        if let Ok(mut pulse) = self.0.lock() {
            *pulse = busy;
        }
    }

    /// Whose job has made no progress for `patience`, and for how long; each stall once.
    fn stalled(&self, now: Instant, patience: Duration) -> Option<(ClientId, Duration)> {
        let mut pulse = self.0.lock().ok()?;
        let busy = pulse.as_mut().filter(|busy| !busy.reported)?;
        let idle = now.saturating_duration_since(busy.last_beat);
        busy.reported = idle >= patience;
        busy.reported.then_some((busy.client, idle))
    }
}

/// Looks at all lanes' pulses.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pub pulses: Vec<Arc<Heartbeat>>,
    pub patience: Duration,
}

impl Watchdog {
    /// Lanes found without progress since the last look.
    pub fn look(&self, now: Instant) -> Vec<(LaneId, ClientId, Duration)> {
        let lanes = self.pulses.iter().enumerate();
        let stalled = lanes.filter_map(|(lane, pulse)| {
            let (client, idle) = pulse.stalled(now, self.patience)?;
            Some((LaneId(lane as u32), client, idle))
        });
        stalled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_without_progress_is_reported_once_per_stall() {
        let pulse = Arc::new(Heartbeat::default());
        let patience = Duration::from_secs(10);
        let watchdog = Watchdog {
            pulses: vec![Arc::default(), pulse.clone()],
            patience,
        };
        let later = || Instant::now() + patience * 2;
        assert_eq!(watchdog.look(later()), []);
        pulse.begin(ClientId(3));
        assert_eq!(watchdog.look(Instant::now()), []);
        let found = watchdog.look(later());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1), (LaneId(1), ClientId(3)));
        assert_eq!(watchdog.look(later()), []);
        pulse.beat();
        assert_eq!(watchdog.look(later()).len(), 1);
        pulse.end();
        assert_eq!(watchdog.look(later()), []);
    }
}
