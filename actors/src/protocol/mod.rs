//! What the parts of a run tell each other, as plain data: nothing here knows an actor or a thread.

pub mod client_state;
pub mod command;
pub mod control;
pub mod event;
pub mod input;
pub mod job;
pub mod json;
pub mod outcome;
pub mod round_record;
