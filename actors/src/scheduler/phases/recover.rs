//! A server that died: everything goes back to the last checkpoint, and is repeated from there.
//!
//! What is repeated gives the same events, which were reported before and are not reported again. So a
//! crash costs work and, if the plan says so, virtual time; it changes nothing else.

use crate::ids::RunId;
use crate::plan::FederationPlan;
use crate::protocol::command::{Command, ServerCommand};
use crate::protocol::event::Event;
use crate::scheduler::in_flight::InFlight;
use crate::scheduler::lifecycle::Lifecycle;
use crate::scheduler::output::Output;
use crate::scheduler::state::State;
use crate::scheduler::steering::Steering;

/// Reports that the server crashes as planned.
pub fn report_crash(state: &mut State, output: &mut Output) {
    let event = Event::ServerCrashed {
        round: state.round,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
}

/// Ends a planned crash of the server: the work up to it is repeated, and it was down for
/// `downtime` virtual seconds.
pub fn end_crash(state: &mut State, output: &mut Output, downtime: f64) {
    let back = state.in_flight.now().after(downtime);
    state.in_flight.clock.advance_to(back);
    let event = Event::ServerRecovered {
        round: state.round,
        virtual_seconds: state.virtual_seconds(),
    };
    output.emit(state, event);
}

/// Has the server built again from its last checkpoint, and gives up all jobs. They belong to
/// the last run, so that replies to them are recognised as stale.
pub fn rebuild_server(in_flight: &mut InFlight, lifecycle: &mut Lifecycle, output: &mut Output) {
    for job in std::mem::take(&mut in_flight.jobs).into_values() {
        output.push(Command::Cancel(job.id));
    }
    lifecycle.run = RunId(lifecycle.run.0.wrapping_add(1));
    let run = lifecycle.run;
    output.send_to_server(ServerCommand::Recover { run });
}

/// The state in a checkpoint, as one of this run.
///
/// # Errors
/// If the bytes are not a state of this plan.
pub fn restore(
    plan: &FederationPlan,
    steering: &Steering,
    run: RunId,
    bytes: &[u8],
) -> Result<State, String> {
    let mut state = State::from_bytes(bytes, plan.clients.len())?;
    state.in_flight.set_run(run);
    // Of a run without a ledger, older versions forgot which commands it had followed.
    let known = steering.known_after(state.round);
    state.intervened = state.intervened.min(known);
    Ok(state)
}
