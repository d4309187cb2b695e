//! What is learned: tasks with their data, their metrics and the files that they are submitted in.
//!
//! [`glue`] has GLUE's nine; [`metrics`] scores predictions; [`summary`] counts what there is at each
//! step, for `regatta data`.

pub mod glue;
pub mod metrics;
pub mod summary;
