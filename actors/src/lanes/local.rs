//! The lanes of this process: who shares which, and their threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::ids::LaneId;
use crate::lanes::group::Gathering;
use crate::lanes::pool::{
    JobFuture, JobRequest, LanePool, PoolClosed, PoolContext, StartLanes, StartedLanes,
};
use crate::lanes::progress::LaneSignals;
use crate::lanes::queue::LaneGroup;
use crate::lanes::thread::{LaneKind, LaneReport, LaneReports, LaneThread};
use crate::lanes::watchdog::Heartbeat;
use crate::observe::hosts::{HostBoard, HostStatus, LaneStatus, OWN_PROCESS};
use crate::protocol::input::Input;
use crate::protocol::outcome::RunError;
use crate::workload::Workload;

/// The queues of a run's lanes. Lanes end when this and all clones of its groups are dropped.
struct LocalPool<W: Workload> {
    shared: LaneGroup<W>,
    own: BTreeMap<LaneId, LaneGroup<W>>,
    gathering: Gathering<W>,
}

impl<W: Workload> LanePool<W> for LocalPool<W> {
    fn train(&self, mut job: JobRequest<W::State>) -> JobFuture<W::Update> {
        let own = job.own_lane.and_then(|lane| self.own.get(&lane));
        let lanes = own.unwrap_or(&self.shared).clone();
        match job.group.take() {
            None => Box::pin(async move { lanes.train(job).await }),
            Some(seat) => {
                let report = self.gathering.add(seat, job, |jobs, together| async move {
                    lanes.train_together(jobs, together).await;
                });
                Box::pin(async move { report.await.map_err(|_| PoolClosed) })
            }
        }
    }
}

/// Starts the plan's lanes: a queue for each lane dedicated to a client, one queue for the rest.
pub(crate) struct LocalLanes;

impl<W: Workload> StartLanes<W> for LocalLanes {
    fn start(
        self: Box<Self>,
        run: PoolContext<W>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<StartedLanes<W>, RunError> {
        run.hosts.add(OWN_PROCESS, own_process(&run));
        let report = inputs(run.report.clone(), run.hosts.clone());
        let own_lanes = run.plan.own_lanes();
        let shared_lanes = (run.plan.lanes as usize).saturating_sub(own_lanes.len());
        let (shared, shared_jobs) = LaneGroup::new(shared_lanes);
        let (mut own, mut heartbeats) = (BTreeMap::new(), Vec::new());
        for lane in (0..run.plan.lanes).map(LaneId) {
            let jobs = if own_lanes.contains(&lane) {
                let (group, jobs) = LaneGroup::new(1);
                own.insert(lane, group);
                jobs
            } else {
                shared_jobs.clone()
            };
            let heartbeat = Arc::<Heartbeat>::default();
            heartbeats.push(heartbeat.clone());
            let main = LaneThread {
                signals: LaneSignals {
                    lane,
                    board: run.board.clone(),
                    hosts: run.hosts.clone(),
                    bus: run.bus.clone(),
                    heartbeat,
                },
                workload: run.workload.clone(),
                jobs,
                report: report.clone(),
                kind: LaneKind::Local,
            };
            threads.push(main.start()?);
        }
        let pool = Arc::new(LocalPool {
            shared,
            own,
            gathering: Gathering::new(run.plan),
        });
        Ok(StartedLanes { pool, heartbeats })
    }
}

/// This process as a host of its own run.
fn own_process<W: Workload>(run: &PoolContext<W>) -> HostStatus {
    let lanes = (0..run.plan.lanes).map(LaneId);
    HostStatus {
        lanes: lanes
            .map(|lane| LaneStatus {
                lane,
                device: run.workload.device(lane),
                work: None,
            })
            .collect(),
        ..HostStatus::new(OWN_PROCESS, "")
    }
}

/// What lanes report, as the scheduler takes it.
fn inputs(report: Arc<dyn Fn(Input) + Send + Sync>, hosts: Arc<HostBoard>) -> LaneReports {
    Arc::new(move |of_lane| {
        report(match of_lane {
            LaneReport::Ready { lane, .. } => Input::LaneReady(lane),
            LaneReport::Gone { lane, reason } => {
                hosts.update(OWN_PROCESS, |host| {
                    host.lanes.retain(|own| own.lane != lane)
                });
                Input::LaneFailed { lane, reason }
            }
            // Lanes on the same device would fail next, one client after the other; a new process
            // can use it again.
            LaneReport::DeviceLost { lane, reason } => Input::DeviceLost {
                reason: format!("lane {}: {reason}", lane.0),
            },
        });
    })
}
