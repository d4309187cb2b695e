//! The weights of a snapshot: `model.safetensors`, or the parts that
//! `model.safetensors.index.json` lists.

use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;
use crate::base::tensors::TensorMap;
use crate::base::tensors::weight_map::{INDEX, WHOLE, WeightMap};
use crate::model::ModelError;

/// The files of a snapshot's weights, and the list of them where they are several.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    pub files: Vec<PathBuf>,
    list: Option<(WeightMap, PathBuf)>,
}

impl WeightFiles {
    /// Looks for them in a snapshot's folder.
    ///
    /// # Errors
    /// If the list cannot be read, or a file that it names is not there.
    pub fn find(folder: &Path) -> Result<Self, FileError> {
        let (whole, index) = (folder.join(WHOLE), folder.join(INDEX));
        if whole.is_file() || !index.is_file() {
            return Ok(Self {
                files: vec![whole],
                list: None,
            });
        }
        let map = WeightMap::read(&index)?;
        let path_of = |name: &str| {
            let path = folder.join(name);
            path.is_file().then_some(path).ok_or_else(|| {
                let missing = "which it lists, is not there; fetch the whole snapshot";
                FileError::content(&index, format!("{name}, {missing}"))
            })
        };
        Ok(Self {
            files: map
                .files()
                .into_iter()
                .map(path_of)
                .collect::<Result<_, _>>()?,
            list: Some((map, index)),
        })
    }
}

/// All tensors of a snapshot, and the file that says which there are.
///
/// # Errors
/// If a file is missing or unreadable, or a part lacks a tensor that the list has in it.
pub(crate) fn read(folder: &Path) -> Result<(TensorMap, PathBuf), ModelError> {
    let found = WeightFiles::find(folder)?;
    let mut tensors = TensorMap::default();
    for file in &found.files {
        tensors.0.extend(TensorMap::read(file)?.0);
    }
    let Some((map, index)) = found.list else {
        return Ok((tensors, folder.join(WHOLE)));
    };
    let missing = map.tensors().find(|name| tensors.get(name).is_none());
    match missing {
        Some(name) => {
            let reason = format!("no part has {name}, which it lists");
            Err(FileError::content(&index, reason).into())
        }
        None => Ok((tensors, index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tensors::HostTensor;

    fn folder(index: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let mut tensors = TensorMap::default();
            tensors.insert(name, HostTensor::full(&[2], 1.0));
            let file = folder.path().join(format!("{name}.safetensors"));
            tensors.write(&file).unwrap();
        }
        std::fs::write(folder.path().join(INDEX), index).unwrap();
        folder
    }

    #[test]
    fn parts_are_read_together() {
        let folder = folder(r#"{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}"#);
        let (tensors, named) = read(folder.path()).unwrap();
        assert_eq!(tensors.iter().count(), 2);
        assert_eq!(named, folder.path().join(INDEX));
    }

    #[test]
    fn what_the_list_says_must_be_there() {
        for (index, expected) in [
            (
                r#"{"weight_map": {"a": "c.safetensors"}}"#,
                "c.safetensors, which it lists",
            ),
            (r#"{"weight_map": {"c": "a.safetensors"}}"#, "no part has c"),
            (r#"{"weight_map": {}}"#, "weight_map is empty"),
        ] {
            let error = read(folder(index).path()).unwrap_err().to_string();
            assert!(error.contains(INDEX) && error.contains(expected), "{error}");
        }
    }
}
