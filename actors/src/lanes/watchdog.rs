//! The watchdog: reports lanes that make no progress, in wall time. It decides nothing.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ids::{ClientId, LaneId};

/// The signals of one lane.
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
        if let Ok(mut heartbeat) = self.0.lock() {
            *heartbeat = busy;
        }
    }

    /// How long the job has made no progress; `None`: there is no job.
    pub fn idle(&self, now: Instant) -> Option<Duration> {
        let heartbeat = self.0.lock().ok()?;
        let busy = heartbeat.as_ref()?;
        Some(now.saturating_duration_since(busy.last_beat))
    }

    /// Whose job has made no progress for `patience`, and for how long; each stall once.
    fn stalled(&self, now: Instant, patience: Duration) -> Option<(ClientId, Duration)> {
        let mut heartbeat = self.0.lock().ok()?;
        let busy = heartbeat.as_mut().filter(|busy| !busy.reported)?;
        let idle = now.saturating_duration_since(busy.last_beat);
        busy.reported = idle >= patience;
        busy.reported.then_some((busy.client, idle))
    }
}

/// Looks at all lanes' heartbeats.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pub heartbeats: Vec<Arc<Heartbeat>>,
    pub patience: Duration,
}

impl Watchdog {
    /// Lanes found without progress since the last look.
    pub fn look(&self, now: Instant) -> Vec<(LaneId, ClientId, Duration)> {
        let lanes = self.heartbeats.iter().enumerate();
        let stalled = lanes.filter_map(|(lane, heartbeat)| {
            let (client, idle) = heartbeat.stalled(now, self.patience)?;
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
        let heartbeat = Arc::new(Heartbeat::default());
        let patience = Duration::from_secs(10);
        let watchdog = Watchdog {
            heartbeats: vec![Arc::default(), heartbeat.clone()],
            patience,
        };
        let later = || Instant::now() + patience * 2;
        assert_eq!(watchdog.look(later()), []);
        heartbeat.begin(ClientId(3));
        assert_eq!(watchdog.look(Instant::now()), []);
        let found = watchdog.look(later());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1), (LaneId(1), ClientId(3)));
        assert_eq!(watchdog.look(later()), []);
        heartbeat.beat();
        assert_eq!(watchdog.look(later()).len(), 1);
        heartbeat.end();
        assert_eq!(watchdog.look(later()), []);
    }
}
