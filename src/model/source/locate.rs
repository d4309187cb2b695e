//! Where a model's files are: in a local folder, or on the hub.

use std::path::{Path, PathBuf};

use crate::base::hub_error::HubError;

/// The folder of a model: `name` itself if there is such a path, else the hub's model of that
/// name, fetched if need be.
///
/// # Errors
/// If there is no such path and the hub's model is unavailable.
pub fn model_dir(name: &str) -> Result<PathBuf, HubError> {
    if Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    fetch_model(name)
}

#[cfg(feature = "hub")]
use crate::base::hub::fetch_model;

#[cfg(not(feature = "hub"))]
fn fetch_model(name: &str) -> Result<PathBuf, HubError> {
    Err(HubError::not_built(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().to_str().unwrap();
        assert_eq!(model_dir(name).unwrap(), dir.path());
    }
}
