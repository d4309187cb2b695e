//! GLUE's nine tasks.
//!
//! * [`task`]: their names, splits, classes and metrics, from the table in `spec`.
//! * [`source`]: a task's files in a folder, read into splits.
//! * [`locate`]: that folder, fetched from the hub if need be.
//! * [`submission`]: predictions as GLUE's server takes them.

pub mod locate;
pub mod source;
pub(crate) mod spec;
pub mod submission;
pub mod task;
