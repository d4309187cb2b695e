//! The end of the run.

use crate::protocol::command::Command;
use crate::protocol::event::Event;
use crate::protocol::outcome::{EndReason, RunError, RunOutcome};
use crate::scheduler::output::Output;
use crate::scheduler::state::State;

/// Reports how the run ended, and hands out its outcome.
pub fn end_run(state: &mut State, output: &mut Output, result: Result<EndReason, RunError>) {
    // The end is new, even when it comes while something is repeated.
    output.stop_repeating(state);
    let rounds = state.last.as_ref().map_or(0, |last| last.round);
    let virtual_seconds = state.virtual_seconds();
    let event = Event::RunFinished {
        rounds,
        virtual_seconds,
        ending: result.as_ref().ok().copied(),
        error: result.as_ref().err().map(ToString::to_string),
    };
    output.emit(state, event);
    let last = state.last.take();
    let rounds_refused = state.rounds_refused;
    let outcome = result.map(|ending| RunOutcome {
        ending,
        rounds,
        rounds_refused,
        last,
        virtual_seconds,
    });
    output.push(Command::End(Box::new(outcome)));
}
