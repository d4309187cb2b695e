//! Where a model and the data are: in a local folder, or on the hub.

use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::tasks::glue::task::Task;

/// The value of `--data` that stands for the hub.
pub const HUB: &str = "hub";

/// The folder of a model: `name` itself if there is such a path, else the hub's model of that
/// name, fetched if need be.
///
/// # Errors
/// When there is no such path and the hub's model cannot be had.
pub fn model_dir(name: &str) -> Result<PathBuf, DataError> {
    if Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    fetch_model(name)
}

/// The folder of a task's data: `name` itself if there is such a path or it is not
/// [`HUB`], else the hub's data set, fetched if need be.
///
/// # Errors
/// When the hub's data set cannot be had.
pub fn data_dir(name: &str, task: Task) -> Result<PathBuf, DataError> {
    if name != HUB || Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    fetch_dataset(task)
}

#[cfg(feature = "hub")]
use crate::base::hub::{fetch_dataset, fetch_model};

#[cfg(not(feature = "hub"))]
fn fetch_model(name: &str) -> Result<PathBuf, DataError> {
    Err(without_hub(name))
}

#[cfg(not(feature = "hub"))]
fn fetch_dataset(_: Task) -> Result<PathBuf, DataError> {
    Err(without_hub("the data"))
}

#[cfg(not(feature = "hub"))]
fn without_hub(repo: &str) -> DataError {
    DataError::Hub {
        repo: repo.to_owned(),
        message: "there is no such folder here, and this program was built without the feature \
                  `hub`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().to_str().unwrap();
        assert_eq!(model_dir(name).unwrap(), dir.path());
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
