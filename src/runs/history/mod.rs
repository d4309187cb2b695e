//! What happened in a run, read from its ledger: each participation, each client, each state.

pub mod clients;
pub mod participation;
pub mod states;
