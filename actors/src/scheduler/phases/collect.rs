//! The collection: what the machine reports of jobs, what is due next, and when the round closes.

use crate::ids::{JobId, LaneId};
use crate::plan::{ClockMode, FederationPlan};
use crate::protocol::event::Event;
use crate::scheduler::environment::Environment;
use crate::scheduler::in_flight::{Due, InFlight, JobState};
use crate::scheduler::output::Output;
use crate::scheduler::quotas;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;

/// What is to be done next in virtual time.
pub enum Next {
    /// This is due.
    Due(Due),
    /// To wait: the next thing is due in this many wall seconds.
    After(f64),
    /// Nothing: nothing is due, or the machine is not done with the job that is.
    Unknown,
}

/// What becomes of a round whose jobs or clients have changed.
pub enum Review {
    /// It is still collecting.
    Open,
    /// It closes.
    Close,
    /// No client could take part in it or in a later one.
    NobodyLeft,
}

/// Reports a reply to a job that is no longer waited for.
pub fn report_stale_reply(state: &mut State, output: &mut Output, id: JobId) {
    let (round, client) = (id.round, id.client);
    output.emit(state, Event::StaleReply { round, client });
}

/// Warns of a job that failed although no fault was to end it.
pub fn warn_of_failure(in_flight: &InFlight, id: JobId, lane: Option<LaneId>, reason: &str) {
    let job = in_flight.job(id);
    if job.is_some_and(|job| job.injected.interruption.is_none()) {
        let (client, round) = (id.client, id.round);
        let on = lane.map_or_else(String::new, |lane| format!(" on lane {}", lane.0));
        tracing::warn!("client {client}'s job of round {round} failed{on}: {reason}");
    }
}

/// Notes that the machine is done with a job. With the wall's clock its end is due then: a job
/// takes as long as it took, and a straggler's longer.
pub fn finish_job(plan: &FederationPlan, in_flight: &mut InFlight, id: JobId, state: JobState) {
    let now = in_flight.now();
    let Some(job) = in_flight.job_mut(id) else {
        return;
    };
    job.state = state;
    if let ClockMode::Wall { .. } = plan.clock {
        let took = now.seconds() - job.selected_at.seconds();
        let slowdown = job.injected.slowdown.max(1.0);
        let due = job.selected_at.after(took * slowdown);
        let end = job.end_of_training();
        in_flight.clock.schedule(due, end);
    }
}

/// Advances virtual time to what is due next, if all that it depends on is known.
pub fn next_due(plan: &FederationPlan, in_flight: &mut InFlight) -> Next {
    let Some((due, what)) = in_flight.clock.peek() else {
        return Next::Unknown;
    };
    if let Due::Trained(id) | Due::Left(id) = what
        && in_flight.is_busy(*id)
    {
        return Next::Unknown;
    }
    if let ClockMode::Wall { scale } = plan.clock
        && due > in_flight.now()
    {
        return Next::After((due.seconds() - in_flight.now().seconds()) / scale);
    }
    in_flight.clock.pop().map_or(Next::Unknown, Next::Due)
}

/// Clients to select to have as many as the plan wants.
pub fn missing(plan: &FederationPlan, in_flight: &InFlight, round: &Round) -> usize {
    let there = if plan.policy.is_buffered() {
        in_flight.jobs.len()
    } else {
        round.arrived() + round.pending
    };
    quotas::clients(plan).saturating_sub(there)
}

/// Decides whether the round closes: when it has its updates, or when no more are to come. If no
/// client works for it, it waits for the one that is available first.
pub fn review(
    plan: &FederationPlan,
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
) -> Review {
    if round.arrived() >= round.target {
        return Review::Close;
    }
    let buffered = plan.policy.is_buffered();
    if round.pending > 0 || (buffered && !state.in_flight.jobs.is_empty()) {
        return Review::Open;
    }
    if round.selected > 0 && !buffered {
        return Review::Close;
    }
    if round.waiting || !state.in_flight.jobs.is_empty() {
        return Review::Open;
    }
    wait_for_a_client(environment, state, round)
}

fn wait_for_a_client(
    environment: &mut Environment,
    state: &mut State,
    round: &mut Round,
) -> Review {
    let now = state.in_flight.now();
    let next = state
        .fleet
        .next_available(round, &state.in_flight, environment);
    match next {
        Some(due) if due > now => {
            round.waiting = true;
            let wake = Due::Wake {
                round: round.number,
            };
            state.in_flight.clock.schedule(due, wake);
            Review::Open
        }
        _ if round.arrived() > 0 || state.fleet.has_any_left(now, environment) => Review::Close,
        _ => Review::NobodyLeft,
    }
}
