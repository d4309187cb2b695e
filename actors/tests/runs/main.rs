//! Whole runs of a toy workload: one binary, for linking takes longer than the tests do.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
mod failures;
mod faults;
mod groups;
mod interventions;
mod policies;
mod recovery;
mod refusals;
mod remote;
mod rounds;
mod scenarios;
mod stopping;
mod wall_time;
