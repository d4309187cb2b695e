//! The hosts that train for a run, as a page shows them: what events tell, with what the board says
//! of the moment.

use std::collections::BTreeMap;

use regatta_actors::observe::hosts::{HostBoard, HostStatus, LaneStatus};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::job::JobPhase;
use serde::Serialize;

use crate::base::time::unix_seconds;
use crate::runs::history::hosts::{HostHistory, HostRecord};

/// A difference in seconds that tells two signs of life apart.
const APART: f64 = 0.5;

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostRow {
    /// Who it is, and what it did.
    #[serde(flatten)]
    pub record: HostRecord,
    /// What it does, or last did.
    #[serde(flatten)]
    pub now: HostNow,
}

/// A host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HostNow {
    /// What each of its lanes does; none once it has left.
    pub work: Vec<LaneRow>,
    /// When it was last heard, in seconds since 1970.
    pub heard: f64,
    /// Whether it was told to leave.
    pub draining: bool,
    /// Bytes of results that it sent; `None` if it trained for a run before this was resumed.
    pub sent: Option<u64>,
    /// Bytes of states that it received, likewise.
    pub received: Option<u64>,
}

/// What a lane does: `[lane, device, client, round, phase]`, or `[lane, device]` while it waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LaneRow {
    /// It has a job.
    Busy(u32, String, u32, u32, JobPhase),
    /// It waits for one.
    Idle(u32, String),
}

impl From<LaneStatus> for LaneRow {
    fn from(status: LaneStatus) -> Self {
        let (lane, device) = (status.lane.0, status.device);
        match status.work {
            Some(work) => {
                let (client, round) = (work.job.client.0, work.job.round);
                Self::Busy(lane, device, client, round, work.phase)
            }
            None => Self::Idle(lane, device),
        }
    }
}

/// Follows the hosts.
#[derive(Debug, Default)]
pub(crate) struct HostTracker {
    history: HostHistory,
    /// As pages have them.
    told: BTreeMap<u32, HostRow>,
}

impl HostTracker {
    /// Follows a run whose hosts so far were these.
    pub fn new(history: HostHistory) -> Self {
        Self {
            history,
            told: BTreeMap::new(),
        }
    }

    /// The same, with everything yet to be told.
    pub fn untold(self) -> Self {
        Self::new(self.history)
    }

    /// Takes in an event of `now`, in seconds since 1970.
    pub fn take(&mut self, event: &Event, now: f64) {
        self.history.take(event, now);
    }

    /// What has changed since this was last asked for.
    pub fn changes(&mut self, board: &HostBoard) -> BTreeMap<u32, Option<HostRow>> {
        let board: BTreeMap<String, HostStatus> = board.snapshot().into_iter().collect();
        let mut changes = BTreeMap::new();
        for (number, record) in &self.history.hosts {
            let told = self.told.get(number);
            let now = match (board.get(&record.host), &record.left) {
                (Some(status), None) => self::now(status, told),
                _ => HostNow {
                    work: Vec::new(),
                    ..told.map_or_else(HostNow::default, |told| told.now.clone())
                },
            };
            if told.is_none_or(|told| told.record != *record || told.now != now) {
                let record = record.clone();
                changes.insert(*number, Some(HostRow { record, now }));
            }
        }
        let gone = |number: &&u32| !self.history.hosts.contains_key(number);
        changes.extend(self.told.keys().filter(gone).map(|number| (*number, None)));
        for (number, row) in &changes {
            match row {
                Some(row) => self.told.insert(*number, row.clone()),
                None => self.told.remove(number),
            };
        }
        changes
    }
}

/// What a host does now. It was heard when it was before, unless that is another moment: the two
/// clocks do not agree to the last digit.
fn now(status: &HostStatus, told: Option<&HostRow>) -> HostNow {
    let heard = status.heard.map(|at| at.elapsed().as_secs_f64());
    let heard = unix_seconds() - heard.unwrap_or_default();
    let before = told.map(|told| told.now.heard);
    HostNow {
        work: status.lanes.iter().cloned().map(LaneRow::from).collect(),
        heard: before
            .filter(|before| (heard - before).abs() < APART)
            .unwrap_or(heard),
        draining: status.draining,
        sent: Some(status.bytes_sent),
        received: Some(status.bytes_received),
    }
}
