//! An update's way to the server: sent, arrived, lost, late or doubled.

use crate::ids::JobId;
use crate::plan::FederationPlan;
use crate::plan::policy::Late;
use crate::protocol::client_state::ClientState;
use crate::protocol::event::Event;
use crate::protocol::job::UpdateInfo;
use crate::protocol::round_record::Outcome;
use crate::scheduler::fleet::LastParticipation;
use crate::scheduler::in_flight::{Due, InFlight, InFlightJob, JobState};
use crate::scheduler::output::Output;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;

/// Training is done: the client sends its update, and leaves if its availability ends before that
/// has arrived.
///
/// # Errors
/// With the reason, when the job gave no update.
pub fn begin_upload(
    plan: &FederationPlan,
    in_flight: &mut InFlight,
    id: JobId,
) -> Result<(), String> {
    let now = in_flight.now();
    let Some(job) = in_flight.job_mut(id) else {
        return Ok(());
    };
    match &job.state {
        JobState::Busy => Ok(()),
        JobState::Done(info) => {
            let profile = &plan.clients[id.client.0 as usize].profile;
            let seconds = profile.upload_seconds(info.bytes_up) * job.injected.link;
            let arrival = now.after(seconds + job.injected.late);
            job.sending = true;
            let (due, what) = if job.until < arrival {
                (job.until, Due::Left(id))
            } else {
                (arrival, Due::Arrived(id))
            };
            in_flight.clock.schedule(due, what);
            Ok(())
        }
        JobState::Failed { reason, .. } => Err(reason.clone()),
    }
}

/// An update reaches the server, or is lost just before. Says whether a job ended.
pub fn arrive(
    plan: &FederationPlan,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    id: JobId,
) -> bool {
    let Some(job) = round.take_job(&mut state.in_flight, id) else {
        return false;
    };
    let JobState::Done(info) = &job.state else {
        return false;
    };
    if let Some(delay) = job.injected.duplicate {
        let again = state.in_flight.now().after(delay);
        state.in_flight.clock.schedule(again, Due::Again(id));
    }
    if job.injected.lost {
        lose(state, output, &job);
        round.end_part(plan, &job, Outcome::Lost);
    } else if let Some(weight) = weight(plan, round, &job) {
        round.add_update(plan, &job, weight);
        accept(state, round, output, &job, info.clone());
    } else {
        drop_stale(state, round, output, id);
    }
    true
}

/// An update reaches the server a second time.
pub fn arrive_again(state: &mut State, output: &mut Output, id: JobId) {
    let event = Event::UpdateDuplicated {
        round: id.round,
        client: id.client,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
}

/// What an update that arrives now weighs; `None`: nothing, it is too late.
fn weight(plan: &FederationPlan, round: &Round, job: &InFlightJob) -> Option<f64> {
    let staleness = round.number - job.id.round;
    match plan.policy.late() {
        Late::Carry(by) => by.weight(staleness),
        Late::Discard | Late::Cancel => (staleness == 0 && !job.late).then_some(1.0),
    }
}

fn accept(
    state: &mut State,
    round: &Round,
    output: &mut Output,
    job: &InFlightJob,
    info: UpdateInfo,
) {
    let (id, now) = (job.id, state.in_flight.now());
    state.fleet.client_mut(id.client).last = Some(LastParticipation {
        round: round.number,
        loss: info.loss,
        examples: info.examples,
        seconds: now.seconds() - job.selected_at.seconds(),
    });
    let event = Event::UpdateReceived {
        round: id.round,
        client: id.client,
        loss: info.loss,
        examples: info.examples,
        steps: info.steps,
        bytes_up: info.bytes_up,
        digest: info.digest,
        seconds: info.seconds,
        virtual_seconds: now.seconds(),
    };
    output.emit(state, event);
    output.set_client_state(round.number, id.client, ClientState::Idle);
}

fn lose(state: &mut State, output: &mut Output, job: &InFlightJob) {
    let event = Event::UpdateLost {
        round: job.id.round,
        client: job.id.client,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    output.discard(job.id);
}

fn drop_stale(state: &mut State, round: &Round, output: &mut Output, id: JobId) {
    let event = Event::UpdateStale {
        round: id.round,
        client: id.client,
        staleness: round.number - id.round,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
    output.discard(id);
    output.set_client_state(round.number, id.client, ClientState::Idle);
}
