//! Who leaves, and who comes back when.

use super::state::{InFlightJob, JobState};
use super::{Phase, Scheduler};
use crate::event::{ClientState, Event};
use crate::fault::InterruptionKind;
use crate::learner::LaneId;
use crate::message::{JobId, ServerCommand};
use crate::record::Outcome;
use crate::run::RunError;

impl Scheduler {
    /// A client's work ends without an update, as the plan has it.
    pub(super) fn leave(&mut self, stamp: JobId) {
        let Some(flight) = self.state.flight(stamp) else {
            return;
        };
        // Without a cut it went away while it was sending.
        let kind = match flight.strikes.cut {
            Some(cut) if !flight.sending => cut.kind,
            _ => InterruptionKind::Leave { rejoin: None },
        };
        match kind {
            InterruptionKind::Leave { rejoin } => self.drop_out(stamp, rejoin),
            InterruptionKind::Crash => self.client_failed(stamp, "the client crashed".into()),
            InterruptionKind::LaneFailure => self.client_failed(stamp, "its lane failed".into()),
        }
    }

    fn drop_out(&mut self, stamp: JobId, rejoin: Option<u32>) {
        let Some(flight) = self.take_flight(stamp) else {
            return;
        };
        self.discard(&flight);
        self.state.member(stamp.client).away_until_round = rejoin.unwrap_or(0);
        let steps = match &flight.machine {
            JobState::Done(receipt) => receipt.steps,
            JobState::Failed { work, .. } => work.steps,
            JobState::Busy => 0,
        };
        self.emit(Event::ClientDropped {
            round: stamp.round,
            client: stamp.client,
            steps,
            rejoin,
            virtual_seconds: self.now(),
        });
        self.show(stamp.client, ClientState::Dropped);
        self.end_part(&flight, Outcome::Dropped);
        self.ended_one();
    }

    /// A client fails: it is back after a while, or retired.
    pub(super) fn client_failed(&mut self, stamp: JobId, reason: String) {
        let Some(flight) = self.take_flight(stamp) else {
            return;
        };
        self.discard(&flight);
        let (now, restart) = (self.state.clock.now(), self.plan.restart);
        let member = self.state.member(stamp.client);
        let back_at = restart.fail(&mut member.failures, now);
        // It comes back as one that has only the pretrained model.
        member.holds = None;
        match back_at {
            Some(time) => member.away_until = time,
            None => member.retired = true,
        }
        let name = self.name(stamp.client);
        self.last_failure = Some(format!(
            "client {} ({name}) failed in round {}: {reason}",
            stamp.client, stamp.round
        ));
        self.emit(Event::ClientFailed {
            round: stamp.round,
            client: stamp.client,
            reason,
            back_at: back_at.map(|time| time.seconds()),
            virtual_seconds: now.seconds(),
        });
        self.show(
            stamp.client,
            if back_at.is_some() {
                ClientState::Restarting
            } else {
                ClientState::Retired
            },
        );
        self.end_part(&flight, Outcome::Failed);
        self.ended_one();
    }

    fn discard(&mut self, flight: &InFlightJob) {
        if let JobState::Done(_) = flight.machine {
            let stamp = flight.stamp;
            self.ask_server(ServerCommand::Discard { stamp });
        }
    }

    /// A lane is gone. At the start that is an error; later the others take its jobs.
    pub(super) fn lane_failed(&mut self, lane: LaneId, reason: String) {
        self.lanes_left = self.lanes_left.saturating_sub(1);
        if self.phase == Phase::Starting || self.lanes_left == 0 {
            return self.fail(RunError::Lane { lane, reason });
        }
        tracing::warn!("lane {} is gone: {reason}", lane.0);
        self.emit(Event::LaneFailed { lane, reason });
    }
}
