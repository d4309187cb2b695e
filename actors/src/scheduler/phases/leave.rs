//! Who leaves, and who comes back when.

use crate::ids::{JobId, LaneId};
use crate::plan::fault::injection::InterruptionKind;
use crate::protocol::client_state::ClientState;
use crate::protocol::command::ServerCommand;
use crate::protocol::event::Event;
use crate::protocol::outcome::RunError;
use crate::protocol::round_record::Outcome;
use crate::scheduler::Phase;
use crate::scheduler::Scheduler;
use crate::scheduler::in_flight::{InFlightJob, JobState};

impl Scheduler {
    /// A client's work ends without an update, as the plan has it.
    pub(in crate::scheduler) fn leave(&mut self, id: JobId) {
        let Some(job) = self.state.job(id) else {
            return;
        };
        // Without a cut it went away while it was sending.
        let kind = match job.injected.interruption {
            Some(interruption) if !job.sending => interruption.kind,
            _ => InterruptionKind::Leave { rejoin: None },
        };
        match kind {
            InterruptionKind::Leave { rejoin } => self.drop_out(id, rejoin),
            InterruptionKind::Crash => self.client_failed(id, "the client crashed".into()),
            InterruptionKind::LaneFailure => self.client_failed(id, "its lane failed".into()),
        }
    }

    fn drop_out(&mut self, id: JobId, rejoin: Option<u32>) {
        let Some(job) = self.take_job(id) else {
            return;
        };
        self.discard(&job);
        self.state.client(id.client).away_until_round = rejoin.unwrap_or(0);
        let steps = match &job.state {
            JobState::Done(info) => info.steps,
            JobState::Failed { work, .. } => work.steps,
            JobState::Busy => 0,
        };
        self.emit(Event::ClientDropped {
            round: id.round,
            client: id.client,
            steps,
            rejoin,
            virtual_seconds: self.now(),
        });
        self.show(id.client, ClientState::Dropped);
        self.end_part(&job, Outcome::Dropped);
        self.ended_one();
    }

    /// A client fails: it is back after a while, or retired.
    pub(in crate::scheduler) fn client_failed(&mut self, id: JobId, reason: String) {
        let Some(job) = self.take_job(id) else {
            return;
        };
        self.discard(&job);
        let (now, restart) = (self.state.clock.now(), self.plan.restart);
        let entry = self.state.client(id.client);
        let back_at = restart.fail(&mut entry.failures, now);
        // It comes back as one that has only the pretrained model.
        entry.held_version = None;
        match back_at {
            Some(time) => entry.away_until = time,
            None => entry.retired = true,
        }
        let name = self.name(id.client);
        self.last_failure = Some(format!(
            "client {} ({name}) failed in round {}: {reason}",
            id.client, id.round
        ));
        self.emit(Event::ClientFailed {
            round: id.round,
            client: id.client,
            reason,
            back_at: back_at.map(|time| time.seconds()),
            virtual_seconds: now.seconds(),
        });
        self.show(
            id.client,
            if back_at.is_some() {
                ClientState::Restarting
            } else {
                ClientState::Retired
            },
        );
        self.end_part(&job, Outcome::Failed);
        self.ended_one();
    }

    fn discard(&mut self, job: &InFlightJob) {
        if let JobState::Done(_) = job.state {
            let id = job.id;
            self.ask_server(ServerCommand::Discard { id });
        }
    }

    /// A lane is gone. At the start that is an error; later the others take its jobs.
    pub(in crate::scheduler) fn lane_failed(&mut self, lane: LaneId, reason: String) {
        self.lanes_left = self.lanes_left.saturating_sub(1);
        if self.phase == Phase::Starting || self.lanes_left == 0 {
            return self.fail(RunError::Lane { lane, reason });
        }
        tracing::warn!("lane {} is gone: {reason}", lane.0);
        self.emit(Event::LaneFailed { lane, reason });
    }
}
