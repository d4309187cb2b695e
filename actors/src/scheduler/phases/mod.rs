//! What the scheduler does in each phase of a round, a file a phase.

mod between;
mod close;
mod collect;
mod launch;
mod leave;
mod recover;
