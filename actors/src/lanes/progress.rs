//! A job's line to its lane: progress goes out, and where the job has to end is watched.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ids::{JobId, LaneId};
use crate::lanes::pool::{JobFailure, JobReport};
use crate::lanes::watchdog::Heartbeat;
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::observe::hosts::{HostBoard, OWN_PROCESS};
use crate::plan::fault::injection::InterruptionKind;
use crate::protocol::client_state::ClientState;
use crate::protocol::event::Event;
use crate::protocol::job::{JobFaults, JobPhase, Work};
use crate::workload::Workload;
use crate::workload::job::{JobContext, Progress};

/// The signals of a lane while it trains.
pub(crate) struct LaneSignals {
    pub lane: LaneId,
    pub board: Arc<Board>,
    /// Has an entry of this process only where the run has its lanes in it.
    pub hosts: Arc<HostBoard>,
    pub bus: Bus,
    /// Shows the watchdog that the lane makes progress.
    pub heartbeat: Arc<Heartbeat>,
}

/// Reports a job's progress, and ends it where the plan interrupts it or when nobody waits for its
/// reply.
pub(crate) struct LaneJobContext<'a, L: Workload> {
    lane: &'a LaneSignals,
    id: JobId,
    faults: JobFaults,
    reply: &'a mut oneshot::Sender<JobReport<L::Update>>,
    work: Work,
    is_interrupted: bool,
}

impl<'a, L: Workload> LaneJobContext<'a, L> {
    pub fn new(
        lane: &'a LaneSignals,
        id: JobId,
        faults: JobFaults,
        reply: &'a mut oneshot::Sender<JobReport<L::Update>>,
    ) -> Self {
        Self {
            lane,
            id,
            faults,
            reply,
            work: Work::default(),
            is_interrupted: false,
        }
    }

    /// Shows the client as training.
    pub fn begin(&self) {
        let JobId { round, client, .. } = self.id;
        let lane = Some(self.lane.lane);
        self.lane.board.update(client, |status| {
            status.state = ClientState::Training;
            status.lane = lane;
        });
        self.lane.bus.emit(Event::ClientState {
            round,
            client,
            state: ClientState::Training,
            lane,
        });
        let work = Some((self.id, JobPhase::Training));
        let hosts = &self.lane.hosts;
        hosts.update(OWN_PROCESS, |host| host.show(self.lane.lane, work));
    }

    /// Shows the lane as waiting.
    pub fn end(&self) {
        self.lane.hosts.update(OWN_PROCESS, |host| {
            host.jobs_done += 1;
            host.show(self.lane.lane, None);
        });
    }

    /// The plan's faults for the job.
    pub fn faults(&self) -> JobFaults {
        self.faults
    }

    /// Whether the job came to where the plan interrupts it.
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// The work that the job has done.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Interrupts a job that ended before its point of interruption.
    pub fn interrupt(&mut self) -> JobFailure {
        self.is_interrupted = true;
        JobFailure::Interruption
    }
}

/// A job among those that are trained together: `None` if nobody waits for it, which changes nothing
/// for the others.
impl<L: Workload> JobContext for Option<LaneJobContext<'_, L>> {
    fn step(&mut self, progress: Progress) -> ControlFlow<()> {
        match self {
            Some(context) => context.step(progress),
            None => ControlFlow::Continue(()),
        }
    }
}

impl<L: Workload> JobContext for LaneJobContext<'_, L> {
    fn step(&mut self, progress: Progress) -> ControlFlow<()> {
        self.lane.heartbeat.beat();
        if self.reply.is_closed() {
            return ControlFlow::Break(());
        }
        self.work = Work {
            steps: progress.steps_done,
            examples: progress.examples,
        };
        let JobId { round, client, .. } = self.id;
        self.lane.board.update(client, |status| {
            status.progress = Some(progress);
            status.loss = progress.loss.or(status.loss);
        });
        self.lane.bus.offer(Event::Progress {
            round,
            client,
            lane: self.lane.lane,
            progress,
        });
        let Some(interruption) = self.faults.interruption else {
            return ControlFlow::Continue(());
        };
        if (progress.steps_done as f64) < interruption.at * progress.steps_total as f64 {
            return ControlFlow::Continue(());
        }
        self.is_interrupted = true;
        if interruption.kind == InterruptionKind::LaneFailure {
            // Unwinds out of the trainer, which is then rebuilt as after any panic.
            resume_unwind(Box::new("the lane fails as planned"));
        }
        ControlFlow::Break(())
    }
}
