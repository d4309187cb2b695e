//! Optimisers of a client's round.

pub mod adamw;
pub(crate) mod clip;
