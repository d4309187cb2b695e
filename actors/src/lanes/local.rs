//! All lanes of a run: who shares which, and their threads.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;

use crate::ids::LaneId;
use crate::lanes::progress::LaneSignals;
use crate::lanes::queue::{Job, LaneGroup};
use crate::lanes::thread::{LaneReports, LaneThread};
use crate::lanes::watchdog::Heartbeat;
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::plan::FederationPlan;
use crate::workload::Workload;

/// The queues of a run's lanes. Lanes end when this and all clones of its groups are dropped.
pub(crate) struct Lanes<L: Workload> {
    shared: LaneGroup<L>,
    own: BTreeMap<LaneId, LaneGroup<L>>,
}

/// The inputs of the lanes.
pub(crate) struct LaneStarter<L: Workload> {
    pub workload: Arc<L>,
    pub report: LaneReports,
    pub board: Arc<Board>,
    pub bus: Bus,
    /// One for each lane.
    pub heartbeats: Vec<Arc<Heartbeat>>,
}

impl<L: Workload> LaneStarter<L> {
    /// Starts the plan's lanes: a queue for each lane dedicated to a client, one queue for
    /// the rest. `threads` gets the threads, also those started before an error.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        &self,
        plan: &FederationPlan,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> io::Result<Lanes<L>> {
        let own_lanes = plan.own_lanes();
        let shared_lanes = (plan.lanes as usize).saturating_sub(own_lanes.len());
        let (shared, shared_jobs) = LaneGroup::new(shared_lanes);
        let mut own = BTreeMap::new();
        for lane in (0..plan.lanes).map(LaneId) {
            let jobs = if own_lanes.contains(&lane) {
                let (group, jobs) = LaneGroup::new(1);
                own.insert(lane, group);
                jobs
            } else {
                shared_jobs.clone()
            };
            threads.push(self.start_one(lane, jobs)?);
        }
        Ok(Lanes { shared, own })
    }

    fn start_one(&self, lane: LaneId, jobs: Receiver<Job<L>>) -> io::Result<JoinHandle<()>> {
        let main = LaneThread {
            signals: LaneSignals {
                lane,
                board: self.board.clone(),
                bus: self.bus.clone(),
                heartbeat: self.heartbeats[lane.0 as usize].clone(),
            },
            workload: self.workload.clone(),
            jobs,
            report: self.report.clone(),
        };
        thread::Builder::new()
            .name(format!("regatta-lane-{}", lane.0))
            .spawn(move || main.run())
    }
}

impl<L: Workload> Lanes<L> {
    /// The queue for a client whose own lane is `lane`, if it has one.
    pub fn group(&self, lane: Option<LaneId>) -> LaneGroup<L> {
        lane.and_then(|lane| self.own.get(&lane))
            .unwrap_or(&self.shared)
            .clone()
    }
}
