//! Clients that leave or fail, and when they are back.

use crate::clock::VirtualTime;
use crate::ids::{JobId, LaneId};
use crate::plan::FederationPlan;
use crate::plan::fault::injection::InterruptionKind;
use crate::protocol::client_state::ClientState;
use crate::protocol::event::Event;
use crate::protocol::round_record::Outcome;
use crate::scheduler::in_flight::{InFlightJob, JobState};
use crate::scheduler::lifecycle::Lifecycle;
use crate::scheduler::output::Output;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;

/// A client's work ends without an update, as the plan has it. Says whether a job ended.
pub fn leave(
    plan: &FederationPlan,
    state: &mut State,
    round: &mut Round,
    lifecycle: &mut Lifecycle,
    output: &mut Output,
    id: JobId,
) -> bool {
    let Some(job) = state.in_flight.job(id) else {
        return false;
    };
    // Without an interruption it went away while it was sending.
    let kind = match job.injected.interruption {
        Some(interruption) if !job.sending => interruption.kind,
        _ => InterruptionKind::Leave { rejoin: None },
    };
    let reason = match kind {
        InterruptionKind::Leave { rejoin } => {
            return drop_out(plan, state, round, output, id, rejoin);
        }
        InterruptionKind::Crash => "the client crashed",
        InterruptionKind::LaneFailure => "its lane failed",
    };
    fail_client(plan, state, round, lifecycle, output, id, reason.into())
}

fn drop_out(
    plan: &FederationPlan,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    id: JobId,
    rejoin: Option<u32>,
) -> bool {
    let Some(job) = round.take_job(&mut state.in_flight, id) else {
        return false;
    };
    discard(&job, output);
    state.fleet.client_mut(id.client).away_until_round = rejoin.unwrap_or(0);
    let steps = match &job.state {
        JobState::Done(info) => info.steps,
        JobState::Failed { work, .. } => work.steps,
        JobState::Busy => 0,
    };
    let event = Event::ClientDropped {
        round: id.round,
        client: id.client,
        steps,
        rejoin,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    output.set_client_state(round.number, id.client, ClientState::Dropped);
    round.end_part(plan, &job, Outcome::Dropped);
    true
}

/// A client fails: it is back after a while, or retired. Says whether a job ended.
pub fn fail_client(
    plan: &FederationPlan,
    state: &mut State,
    round: &mut Round,
    lifecycle: &mut Lifecycle,
    output: &mut Output,
    id: JobId,
    reason: String,
) -> bool {
    let Some(job) = round.take_job(&mut state.in_flight, id) else {
        return false;
    };
    discard(&job, output);
    let back_at = restart(plan, state, id);
    let name = &plan.clients[id.client.0 as usize].name;
    lifecycle.last_failure = Some(format!(
        "client {} ({name}) failed in round {}: {reason}",
        id.client, id.round
    ));
    let event = Event::ClientFailed {
        round: id.round,
        client: id.client,
        reason,
        back_at: back_at.map(VirtualTime::seconds),
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    let shown = match back_at {
        Some(_) => ClientState::Restarting,
        None => ClientState::Retired,
    };
    output.set_client_state(round.number, id.client, shown);
    round.end_part(plan, &job, Outcome::Failed);
    true
}

/// When a client that failed is back, with the pretrained model alone; `None`: it is retired.
fn restart(plan: &FederationPlan, state: &mut State, id: JobId) -> Option<VirtualTime> {
    let now = state.in_flight.now();
    let entry = state.fleet.client_mut(id.client);
    let back_at = plan.restart.fail(&mut entry.failures, now);
    entry.held_version = None;
    match back_at {
        Some(time) => entry.away_until = time,
        None => entry.retired = true,
    }
    back_at
}

fn discard(job: &InFlightJob, output: &mut Output) {
    if let JobState::Done(_) = job.state {
        output.discard(job.id);
    }
}

/// A lane is gone; the others take its jobs.
pub fn report_lane_failure(state: &mut State, output: &mut Output, lane: LaneId, reason: String) {
    tracing::warn!("lane {} is gone: {reason}", lane.0);
    output.emit(state, Event::LaneFailed { lane, reason });
}
