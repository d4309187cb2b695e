//! TODO

pub mod adamw;
