//! The end of a round: late jobs, too few updates, aggregation, evaluation.

use crate::plan::FederationPlan;
use crate::plan::policy::{Late, OnTooFew};
use crate::protocol::client_state::ClientState;
use crate::protocol::command::ServerCommand;
use crate::protocol::event::Event;
use crate::protocol::json::finite_or_nan;
use crate::protocol::outcome::RunError;
use crate::protocol::round_record::Outcome;
use crate::scheduler::lifecycle::Lifecycle;
use crate::scheduler::output::Output;
use crate::scheduler::quotas;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;
use crate::workload::update::{Aggregation, Scores};

/// What follows the collection.
pub enum Closing {
    Aggregate,
    /// There are too few updates: the round makes another attempt.
    Retry,
    /// There are too few updates: the round aggregates nothing.
    Skip,
    /// There are too few updates: the run ends.
    Fail(RunError),
}

/// Gives up the jobs of this round that are still under way, or marks them as late. Where
/// aggregation is asynchronous, no job is late.
pub fn end_late_jobs(
    plan: &FederationPlan,
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
) {
    if plan.policy.is_buffered() {
        return;
    }
    for id in state.in_flight.of_round(round.number) {
        let Some(mut job) = round.take_job(&mut state.in_flight, id) else {
            continue;
        };
        let event = Event::UpdateLate {
            round: id.round,
            client: id.client,
            virtual_seconds: state.virtual_seconds(),
        };
        output.emit(state, event);
        round.end_part(plan, &job, Outcome::Late);
        if plan.policy.late() == Late::Cancel {
            output.cancel(&job);
            output.set_client_state(round.number, id.client, ClientState::Idle);
        } else {
            job.late = true;
            state.in_flight.insert(job);
        }
    }
}

/// Decides what follows the collection.
pub fn decide(plan: &FederationPlan, round: &Round) -> Closing {
    let (updates, needed) = (round.arrived(), quotas::needed(plan));
    if updates >= needed {
        return Closing::Aggregate;
    }
    match plan.too_few.then {
        OnTooFew::Retry { attempts } if round.attempt < attempts => Closing::Retry,
        OnTooFew::Skip => Closing::Skip,
        OnTooFew::Retry { .. } | OnTooFew::Stop => Closing::Fail(RunError::TooFewUpdates {
            round: round.number,
            updates: updates as u32,
            needed: needed as u32,
        }),
    }
}

/// Begins the round's next attempt, which keeps the updates that came.
pub fn begin_attempt(state: &mut State, round: &mut Round, output: &mut Output) {
    round.attempt += 1;
    round.selected = 0;
    let event = Event::RoundRetried {
        round: round.number,
        attempt: round.attempt,
        updates: round.arrived() as u32,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
}

/// Marks the round as one that aggregates nothing.
pub fn skip(plan: &FederationPlan, state: &mut State, round: &mut Round, output: &mut Output) {
    let (updates, needed) = (round.arrived() as u32, quotas::needed(plan));
    round.skipped = Some(format!(
        "the round was skipped: {updates} of {needed} updates came"
    ));
    let event = Event::RoundSkipped {
        round: round.number,
        updates,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
}

/// Has the server aggregate what arrived, or nothing if the round is skipped.
pub fn aggregate(round: &mut Round, output: &mut Output) {
    round.seconds.train = output.wall - round.began;
    round.began = output.wall;
    let mut updates = round.updates();
    if round.skipped.is_some() {
        for update in std::mem::take(&mut updates) {
            output.discard(update.id);
        }
    }
    output.send_to_server(ServerCommand::Aggregate {
        round: round.number,
        updates,
    });
}

/// Notes the round's aggregation.
pub fn note_aggregation(
    state: &mut State,
    round: &mut Round,
    output: &mut Output,
    mut aggregation: Aggregation,
) {
    // JSON has no others.
    aggregation.measures.retain(|_, value| value.is_finite());
    let seconds = output.wall - round.began;
    round.seconds.aggregate = seconds;
    round.began = output.wall;
    round.aggregation = aggregation.clone();
    let event = Event::Aggregated {
        round: round.number,
        aggregation,
        seconds,
    };
    output.emit(state, event);
}

/// Whether the current round is one after which the global state is evaluated.
pub fn evaluation_is_due(plan: &FederationPlan, state: &State) -> bool {
    let every = plan.eval_every;
    every > 0 && (state.round.is_multiple_of(every) || state.is_last_round(plan))
}

/// Reports the scores of the global state, and gives them with what is not finite as NaN.
pub fn report_scores(
    state: &mut State,
    output: &mut Output,
    round: u32,
    scores: Scores,
    seconds: f64,
) -> Scores {
    let scores: Scores = scores
        .into_iter()
        .map(|(name, score)| (name, finite_or_nan(score)))
        .collect();
    let event = Event::Evaluated {
        round,
        scores: scores.clone(),
        seconds,
    };
    output.emit(state, event);
    scores
}

/// Notes what the round did, and reports it.
pub fn finish_round(
    state: &mut State,
    round: &Round,
    lifecycle: &mut Lifecycle,
    output: &mut Output,
) {
    let record = round.record(state.in_flight.now());
    state.note_outcome(&record);
    if !output.is_repeating(state) {
        lifecycle.server_failures = 0;
    }
    output.emit(state, Event::RoundFinished(record.clone()));
    state.last = Some(record);
    state.in_flight.forget_deadlines(round.number);
}
