//! A job's line to its lane: progress goes out, and where the job has to end is watched.

use std::ops::ControlFlow;
use std::panic::resume_unwind;

use tokio::sync::oneshot;

use crate::event::{ClientState, Event};
use crate::fault::InterruptionKind;
use crate::lane::{JobFailure, JobReport};
use crate::lane_thread::LaneThread;
use crate::learner::{JobContext, Progress, Workload};
use crate::message::{JobFaults, JobId, Work};

/// Reports a job's progress, and ends it where the plan cuts it or when nobody waits for its
/// reply.
pub(crate) struct LaneJobContext<'a, L: Workload> {
    thread: &'a LaneThread<L>,
    stamp: JobId,
    script: JobFaults,
    reply: &'a mut oneshot::Sender<JobReport<L::Update>>,
    work: Work,
    is_cut: bool,
}

impl<'a, L: Workload> LaneJobContext<'a, L> {
    pub fn new(
        thread: &'a LaneThread<L>,
        stamp: JobId,
        script: JobFaults,
        reply: &'a mut oneshot::Sender<JobReport<L::Update>>,
    ) -> Self {
        Self {
            thread,
            stamp,
            script,
            reply,
            work: Work::default(),
            is_cut: false,
        }
    }

    /// Shows the client as training.
    pub fn begin(&self) {
        let JobId { round, client, .. } = self.stamp;
        let lane = Some(self.thread.lane);
        self.thread.board.update(client, |status| {
            status.state = ClientState::Training;
            status.lane = lane;
        });
        self.thread.bus.emit(Event::ClientState {
            round,
            client,
            state: ClientState::Training,
            lane,
        });
    }

    /// Whether the job came to where the plan cuts it.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What the job has done.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Cuts a job that did not come to its cut before its end.
    pub fn cut(&mut self) -> JobFailure {
        self.is_cut = true;
        JobFailure::Interruption
    }
}

impl<L: Workload> JobContext for LaneJobContext<'_, L> {
    fn step(&mut self, progress: Progress) -> ControlFlow<()> {
        self.thread.pulse.beat();
        if self.reply.is_closed() {
            return ControlFlow::Break(());
        }
        self.work = Work {
            steps: progress.steps_done,
            examples: progress.examples,
        };
        let JobId { round, client, .. } = self.stamp;
        self.thread.board.update(client, |status| {
            status.progress = Some(progress);
            status.loss = progress.loss.or(status.loss);
        });
        self.thread.bus.offer(Event::Progress {
            round,
            client,
            lane: self.thread.lane,
            progress,
        });
        let Some(cut) = self.script.cut else {
            return ControlFlow::Continue(());
        };
        if (progress.steps_done as f64) < cut.at * progress.steps_total as f64 {
            return ControlFlow::Continue(());
        }
        self.is_cut = true;
        if cut.kind == InterruptionKind::LaneFailure {
            // Unwinds out of the trainer, which is then built anew as after any panic.
            resume_unwind(Box::new("the lane fails as planned"));
        }
        ControlFlow::Break(())
    }
}
