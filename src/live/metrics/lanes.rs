//! Activity of the lanes, derived from clients' events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regatta_actors::ids::{ClientId, LaneId};
use regatta_actors::workload::job::Progress;

use crate::live::metrics::catalog as c;

/// How far the busy ratio looks back: what is older weighs less than 1/e.
const MEMORY: Duration = Duration::from_secs(15);

/// The lanes, shared by the observer, which sees jobs begin and end, and the sampler, which sees
/// time pass.
#[derive(Debug, Clone)]
pub struct SharedLanes(Arc<Mutex<Lanes>>);

impl SharedLanes {
    /// Idle lanes on these devices.
    #[must_use]
    pub fn new(devices: &[String], now: Instant) -> Self {
        let mut lanes = Lanes::default();
        for (number, device) in devices.iter().enumerate() {
            lanes.add(LaneId(number as u32), device, now);
        }
        Self(Arc::new(Mutex::new(lanes)))
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Lanes) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All lanes, and who is on which.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<LaneId, LaneUse>,
    held: BTreeMap<ClientId, LaneId>,
}

impl Lanes {
    /// There is another lane.
    pub fn add(&mut self, lane: LaneId, device: &str, now: Instant) {
        self.lanes.insert(lane, LaneUse::new(lane, device, now));
    }

    /// Brings each lane's series into being.
    pub fn publish(&self) {
        for lane in self.lanes.values() {
            c::LANE_BUSY_RATIO.set(lane.labels(), lane.ratio);
            c::LANE_EXAMPLES.add(lane.labels(), 0);
        }
    }

    /// A client is on a lane now, or on none.
    pub fn occupy(&mut self, client: ClientId, lane: Option<LaneId>, now: Instant) {
        if let Some(left) = self.held.remove(&client)
            && let Some(lane) = self.lane(left)
        {
            lane.rest(now);
        }
        if let Some(taken) = lane
            && let Some(lane) = self.lane(taken)
        {
            lane.begin(now);
            self.held.insert(client, taken);
        }
    }

    /// A lane's job did another batch.
    pub fn progress(&mut self, lane: LaneId, progress: &Progress) {
        if let Some(lane) = self.lane(lane) {
            let more = progress.examples.saturating_sub(lane.job_examples);
            lane.job_examples = lane.job_examples.max(progress.examples);
            c::LANE_EXAMPLES.add(lane.labels(), more);
        }
    }

    /// Time has passed: shows how busy each lane was.
    pub fn sample(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.sample(now);
            c::LANE_BUSY_RATIO.set(lane.labels(), lane.ratio);
        }
    }

    /// The run is over: no lane has anything to do.
    pub fn stop(&mut self) {
        self.held.clear();
        for lane in self.lanes.values_mut() {
            (lane.since, lane.ratio) = (None, 0.0);
            c::LANE_BUSY_RATIO.set(lane.labels(), 0.0);
        }
    }

    fn lane(&mut self, lane: LaneId) -> Option<&mut LaneUse> {
        self.lanes.get_mut(&lane)
    }
}

#[derive(Debug)]
struct LaneUse {
    number: String,
    device: String,
    /// Since when it is busy, or the last sample where that is later; `None`: it rests.
    since: Option<Instant>,
    /// Busy time since the last sample.
    busy: Duration,
    sampled: Instant,
    ratio: f64,
    /// Examples that the current job has done.
    job_examples: u64,
}

impl LaneUse {
    fn new(number: LaneId, device: &str, now: Instant) -> Self {
        Self {
            number: number.0.to_string(),
            device: device.to_owned(),
            since: None,
            busy: Duration::ZERO,
            sampled: now,
            ratio: 0.0,
            job_examples: 0,
        }
    }

    fn labels(&self) -> [&str; 2] {
        [&self.number, &self.device]
    }

    fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.job_examples = 0;
    }

    fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.busy += now.saturating_duration_since(since);
        }
    }

    fn sample(&mut self, now: Instant) {
        let training = self.since.is_some();
        self.rest(now);
        let passed = now.saturating_duration_since(self.sampled).as_secs_f64();
        if passed > 0.0 {
            let share = (self.busy.as_secs_f64() / passed).min(1.0);
            let news = 1.0 - (-passed / MEMORY.as_secs_f64()).exp();
            self.ratio += (share - self.ratio) * news;
        }
        (self.busy, self.sampled) = (Duration::ZERO, now);
        self.since = training.then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lane: &mut LaneUse, start: Instant, seconds: u64) -> f64 {
        lane.sample(start + Duration::from_secs(seconds));
        lane.ratio
    }

    #[test]
    fn a_lane_that_always_trains_tends_to_busy_and_one_that_rests_to_idle() {
        let start = Instant::now();
        let mut lane = LaneUse::new(LaneId(0), "cpu", start);
        lane.begin(start);
        assert!((after(&mut lane, start, 15) - (1.0 - (-1.0_f64).exp())).abs() < 1e-12);
        assert!(after(&mut lane, start, 150) > 0.999);
        lane.rest(start + Duration::from_secs(150));
        assert!(after(&mut lane, start, 300) < 0.001);
    }

    #[test]
    fn a_job_within_one_sample_counts_with_its_share() {
        let start = Instant::now();
        let mut lane = LaneUse::new(LaneId(0), "cpu", start);
        lane.begin(start + Duration::from_secs(1));
        lane.rest(start + Duration::from_secs(4));
        let news = 1.0 - (-6.0_f64 / 15.0).exp();
        assert!((after(&mut lane, start, 6) - 0.5 * news).abs() < 1e-12);
    }
}
