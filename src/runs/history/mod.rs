//! What happened in a run: each participation, each client, each state, and the totals.

pub mod clients;
pub mod participation;
pub mod states;
pub mod totals;
