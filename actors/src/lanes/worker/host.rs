//! What the lanes of a host share while it trains for a run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time;

use crate::ids::{ClientId, Digest, JobId, LaneId};
use crate::lanes::broker::{Audience, Broker};
use crate::lanes::timing::Timing;
use crate::lanes::wire::{HostId, HostNote, JobOrder, Running, encode};
use crate::lanes::worker::states::StateCache;
use crate::protocol::job::JobPhase;
use crate::workload::Workload;
use crate::workload::job::Progress;

/// Time between two reports of a lane's progress, on average.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The progress of a client on a lane of this host.
pub(super) type Progressed = (LaneId, ClientId, Progress);

/// A host under the id that the coordinator gave it.
pub(super) struct JoinedHost<W: Workload, B: Broker> {
    pub broker: Rc<B>,
    pub id: HostId,
    pub timing: Timing,
    pub states: StateCache<W::State>,
    /// The lanes' numbers in the run, by their numbers here; `None`: a lane may not train.
    numbers: BTreeMap<LaneId, Option<LaneId>>,
    /// What the canary job gave on each lane.
    canaries: BTreeMap<LaneId, Digest>,
    running: RefCell<BTreeMap<LaneId, RunningOrder>>,
    stage: Cell<Stage>,
    /// The stage has changed.
    changed: Notify,
    /// Bytes of results that were sent.
    sent: Cell<u64>,
}

/// What a host is still ready to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It takes jobs.
    Serving,
    /// It does the jobs that it has.
    Draining,
    /// It gives them back.
    Leaving,
}

/// An order that a lane has.
struct RunningOrder {
    id: JobId,
    phase: JobPhase,
    /// Its jobs that somebody waits for.
    jobs: BTreeMap<JobId, RunningJob>,
}

#[derive(Default)]
struct RunningJob {
    cancelled: watch::Sender<bool>,
    shown: Option<Instant>,
}

impl<W: Workload, B: Broker> JoinedHost<W, B> {
    pub fn new(
        broker: Rc<B>,
        id: HostId,
        timing: Timing,
        numbers: BTreeMap<LaneId, Option<LaneId>>,
        canaries: BTreeMap<LaneId, Digest>,
    ) -> Self {
        Self {
            broker,
            id,
            timing,
            states: StateCache::default(),
            numbers,
            canaries,
            running: RefCell::default(),
            stage: Cell::new(Stage::Serving),
            changed: Notify::new(),
            sent: Cell::default(),
        }
    }

    /// The lane's number in the run, if it may train.
    pub fn number(&self, lane: LaneId) -> Option<LaneId> {
        self.numbers.get(&lane).copied().flatten()
    }

    pub fn canary(&self, lane: LaneId) -> Digest {
        self.canaries[&lane].clone()
    }

    /// A lane begins an order.
    pub fn begin(&self, lane: LaneId, order: &JobOrder) {
        let jobs = order.jobs().map(|job| (job, RunningJob::default()));
        let running = RunningOrder {
            id: order.id,
            phase: JobPhase::Fetching,
            jobs: jobs.collect(),
        };
        self.running.borrow_mut().insert(lane, running);
    }

    /// Waits until nobody waits any more for a job that a lane does.
    pub async fn cancelled(&self, lane: LaneId, job: JobId) {
        let cancelled = {
            let running = self.running.borrow();
            let job = running.get(&lane).and_then(|order| order.jobs.get(&job));
            job.map(|job| job.cancelled.subscribe())
        };
        if let Some(mut cancelled) = cancelled {
            // The lane has ended the job if nobody can say so any more.
            let _ = cancelled.wait_for(|cancelled| *cancelled).await;
        }
    }

    /// Waits until nobody waits any more for any job of an order that a lane does.
    pub async fn all_cancelled(&self, lane: LaneId, order: &JobOrder) {
        for job in order.jobs() {
            self.cancelled(lane, job).await;
        }
    }

    /// A lane's order has come so far.
    pub fn proceed(&self, lane: LaneId, phase: JobPhase) {
        if let Some(running) = self.running.borrow_mut().get_mut(&lane) {
            running.phase = phase;
        }
    }

    /// A result of this size was sent.
    pub fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// A lane has ended its order.
    pub fn end(&self, lane: LaneId) {
        self.running.borrow_mut().remove(&lane);
    }

    /// Nobody waits for this job any more.
    pub fn cancel(&self, job: JobId) {
        let orders = self.running.borrow();
        for running in orders.values().filter_map(|order| order.jobs.get(&job)) {
            running.cancelled.send_replace(true);
        }
    }

    /// The lanes are to do the jobs that they have and take no others.
    pub fn drain(&self) {
        self.reach(Stage::Draining);
    }

    /// The lanes are to give back their jobs and take no others.
    pub fn leave(&self) {
        self.reach(Stage::Leaving);
    }

    /// Whether the lanes are to take no more jobs.
    pub fn is_draining(&self) -> bool {
        self.stage.get() >= Stage::Draining
    }

    /// Whether the lanes are to give back their jobs.
    pub fn is_leaving(&self) -> bool {
        self.stage.get() >= Stage::Leaving
    }

    /// Waits until the lanes are to take no more jobs.
    pub async fn drained(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Waits until the host leaves.
    pub async fn left(&self) {
        self.reached(Stage::Leaving).await;
    }

    fn reach(&self, stage: Stage) {
        self.stage.set(self.stage.get().max(stage));
        self.changed.notify_waiters();
    }

    async fn reached(&self, stage: Stage) {
        loop {
            let changed = self.changed.notified();
            if self.stage.get() >= stage {
                return;
            }
            changed.await;
        }
    }

    /// A pause that ends when the host leaves.
    pub async fn pause(&self) {
        tokio::select! {
            () = time::sleep(self.timing.retry) => {}
            () = self.left() => {}
        }
    }

    /// Tells the coordinator that this host is there, and what it does.
    pub async fn show_alive(&self) {
        let running = (self.running.borrow().iter())
            .filter_map(|(lane, running)| {
                Some(Running {
                    lane: self.number(*lane)?,
                    order: running.id,
                    clients: running.jobs.keys().map(|job| job.client).collect(),
                    phase: running.phase,
                })
            })
            .collect();
        let note = HostNote::Alive {
            host: self.id.clone(),
            running,
            received: self.states.received(),
            sent: self.sent.get(),
        };
        self.tell(encode(&note)).await;
    }

    /// Tells the coordinator that a lane has not done an order.
    pub async fn show_given_back(&self, lane: LaneId, order: JobId, reason: String) {
        let Some(lane) = self.number(lane) else {
            return;
        };
        let note = HostNote::GivenBack {
            host: self.id.clone(),
            lane,
            order,
            reason,
        };
        self.tell(encode(&note)).await;
    }

    /// Tells the coordinator how far a client is on a lane, now and then: the more it is trained with, the
    /// less often.
    pub async fn show(&self, (lane, client, progress): Progressed) {
        let Some(number) = self.number(lane) else {
            return;
        };
        let job = {
            let mut all = self.running.borrow_mut();
            let Some(order) = all.get_mut(&lane) else {
                return;
            };
            let (job, every) = (
                order.id.of_client(client),
                PROGRESS_EVERY * order.jobs.len() as u32,
            );
            let Some(running) = order.jobs.get_mut(&job) else {
                return;
            };
            let last = progress.steps_done == progress.steps_total;
            let shown_lately = running.shown.is_some_and(|at| at.elapsed() < every);
            if shown_lately && !last {
                return;
            }
            running.shown = Some(Instant::now());
            job
        };
        let note = HostNote::Progress {
            host: self.id.clone(),
            lane: number,
            job,
            progress,
        };
        self.tell(encode(&note)).await;
    }

    pub async fn tell(&self, note: Bytes) {
        if let Err(error) = self.broker.tell(Audience::Coordinator, note).await {
            tracing::debug!("the coordinator was not told: {error}");
        }
    }
}
