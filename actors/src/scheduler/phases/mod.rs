//! The work of each phase, as functions that say which parts of the scheduler they change.

pub(super) mod between;
pub(super) mod close;
pub(super) mod collect;
pub(super) mod end;
pub(super) mod launch;
pub(super) mod leave;
pub(super) mod recover;
pub(super) mod upload;
