//! A task's data on the hub.

#[cfg(feature = "hub")]
use std::path::Path;
use std::path::PathBuf;

use crate::base::hub_error::HubError;
use crate::tasks::glue::task::GlueTask;

/// The data set with all nine tasks, in Parquet.
#[cfg(feature = "hub")]
const GLUE: &str = "nyu-mll/glue";

/// The folder of a task's data, fetched from the hub if need be.
///
/// # Errors
/// If they are unavailable.
#[cfg(feature = "hub")]
pub(crate) fn fetch(task: GlueTask) -> Result<PathBuf, HubError> {
    dataset(&crate::base::hub::Hub::from_env()?, task)
}

/// As the other, in a program without access to the hub.
#[cfg(not(feature = "hub"))]
pub(crate) fn fetch(_: GlueTask) -> Result<PathBuf, HubError> {
    Err(HubError::not_built("the data"))
}

/// The folder of a task's Parquet files from a hub.
///
/// # Errors
/// As [`Hub::model`](crate::base::hub::Hub::model).
#[cfg(feature = "hub")]
pub fn dataset(hub: &crate::base::hub::Hub, task: GlueTask) -> Result<PathBuf, HubError> {
    let is_complete = |folder: &Path| crate::tasks::glue::source::is_complete(task, folder);
    hub.dataset(GLUE, task.name(), is_complete)
}
