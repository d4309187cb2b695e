//! Between two rounds: the state is saved, commands from outside take effect, the run may stop.

use crate::plan::FederationPlan;
use crate::protocol::client_state::ClientState;
use crate::protocol::command::ServerCommand;
use crate::protocol::control::{ControlCommand, Intervention};
use crate::protocol::event::Event;
use crate::protocol::outcome::RunError;
use crate::scheduler::lifecycle::Lifecycle;
use crate::scheduler::output::Output;
use crate::scheduler::round::Round;
use crate::scheduler::state::State;
use crate::scheduler::steering::Steering;

/// Fails after the last round if none aggregated anything: the model is then the one that the run
/// began with, and no result.
///
/// # Errors
/// [`RunError::NothingAggregated`].
pub fn check_aggregated(state: &mut State) -> Result<(), RunError> {
    if state.aggregated {
        return Ok(());
    }
    Err(RunError::NothingAggregated {
        rounds: state.round,
        refused: state.rounds_refused,
        last_refusal: state.last_refusal.take(),
    })
}

/// Whether the state is to be saved after this round: as often as the plan says, when that was
/// requested, and before the run stops. A state that is saved already is not.
pub fn save_is_due(
    plan: &FederationPlan,
    state: &State,
    steering: &Steering,
    lifecycle: &Lifecycle,
) -> bool {
    if !lifecycle.saves || lifecycle.saved == Some(state.round) {
        return false;
    }
    let every = plan.checkpoints.every;
    let mut due = steering.due(state.round, state.intervened).iter();
    steering.save_requested
        || due.any(|i| i.command == ControlCommand::FinishRound)
        || (every > 0 && state.round.is_multiple_of(every))
}

/// Has the server save the state.
///
/// # Errors
/// [`RunError::Broken`], when the state cannot be serialised.
pub fn save(state: &State, steering: &mut Steering, output: &mut Output) -> Result<(), RunError> {
    steering.save_requested = false;
    let bytes = state.to_bytes().map_err(|error| {
        RunError::Broken(format!("the scheduler's state cannot be written: {error}"))
    })?;
    output.send_to_server(ServerCommand::Save {
        round: state.round,
        recorded: state.recorded,
        ledger: None,
        state: bytes,
    });
    Ok(())
}

/// Follows the commands that take effect after this round.
pub fn intervene(state: &mut State, steering: &mut Steering, round: &Round, output: &mut Output) {
    for intervention in steering.due(state.round, state.intervened).to_vec() {
        state.intervened += 1;
        output.emit(state, Event::Intervention(intervention));
        follow(state, steering, round, output, intervention);
    }
}

fn follow(
    state: &mut State,
    steering: &mut Steering,
    round: &Round,
    output: &mut Output,
    intervention: Intervention,
) {
    match intervention.command {
        ControlCommand::FinishRound => steering.stop_requested = true,
        ControlCommand::DropClient { client } => {
            state.fleet.client_mut(client).excluded = true;
            output.set_client_state(round.number, client, ClientState::Dropped);
        }
        ControlCommand::RestoreClient { client } => {
            let entry = state.fleet.client_mut(client);
            entry.excluded = false;
            entry.retired = false;
            entry.failures.clear();
            output.set_client_state(round.number, client, ClientState::Idle);
        }
        ControlCommand::SlowClient { client, factor } => {
            state.fleet.client_mut(client).slow = factor;
        }
        _ => {}
    }
}

/// Whether the state is still to be evaluated before a run that was told to stop ends.
pub fn lacks_evaluation(plan: &FederationPlan, state: &State) -> bool {
    let scores = state.last.as_ref().and_then(|last| last.eval.as_ref());
    scores.is_none() && plan.eval_every > 0
}
