//! Where a task's data are: in a local folder, or on the hub.

use std::path::{Path, PathBuf};

use crate::base::hub_error::HubError;
use crate::tasks::glue::task::Task;

/// The value of `--data` that stands for the hub.
pub const HUB: &str = "hub";

/// The data set with all nine tasks, in Parquet.
#[cfg(feature = "hub")]
const GLUE: &str = "nyu-mll/glue";

/// The folder of a task's data: `name` itself if there is such a path or it is not
/// [`HUB`], else the hub's data set, fetched if need be.
///
/// # Errors
/// If the hub's data set is unavailable.
pub fn data_dir(name: &str, task: Task) -> Result<PathBuf, HubError> {
    if name != HUB || Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    fetch(task)
}

#[cfg(feature = "hub")]
fn fetch(task: Task) -> Result<PathBuf, HubError> {
    dataset(&crate::base::hub::Hub::from_env()?, task)
}

#[cfg(not(feature = "hub"))]
fn fetch(_: Task) -> Result<PathBuf, HubError> {
    Err(HubError::not_built("the data"))
}

/// The folder of a task's Parquet files from a hub.
///
/// # Errors
/// As [`Hub::model`](crate::base::hub::Hub::model).
#[cfg(feature = "hub")]
pub fn dataset(hub: &crate::base::hub::Hub, task: Task) -> Result<PathBuf, HubError> {
    let is_complete = |folder: &Path| crate::tasks::glue::source::is_complete(task, folder);
    hub.dataset(GLUE, task.name(), is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().to_str().unwrap();
        assert_eq!(data_dir(name, Task::Rte).unwrap(), dir.path());
    }

    #[test]
    fn a_data_folder_that_is_not_there_is_left_for_loading_to_report() {
        assert_eq!(
            data_dir("no/such/folder", Task::Rte).unwrap(),
            Path::new("no/such/folder")
        );
    }
}
