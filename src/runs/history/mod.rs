//! TODO

pub mod clients;
pub mod participation;
pub mod states;
