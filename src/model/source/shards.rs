//! The weights of a snapshot: `model.safetensors`, or the parts that
//! `model.safetensors.index.json` lists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;
use crate::base::tensors::weight_map::{INDEX, WHOLE, WeightMap};
use crate::base::tensors::{self, HostTensor};
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

/// Hands out all tensors of a snapshot, one by one; the file that says which there are.
///
/// # Errors
/// If a file is missing or unreadable, or a part lacks a tensor that the list has in it.
pub(crate) fn read_each(
    folder: &Path,
    mut take: impl FnMut(&str, HostTensor),
) -> Result<PathBuf, ModelError> {
    let found = WeightFiles::find(folder)?;
    let mut there = BTreeSet::new();
    for file in &found.files {
        tensors::read_each(file, |name, tensor| {
            there.insert(name.to_owned());
            take(name, tensor);
        })?;
    }
    let Some((map, index)) = found.list else {
        return Ok(folder.join(WHOLE));
    };
    let missing = map.tensors().find(|name| !there.contains(*name));
    match missing {
        Some(name) => {
            let reason = format!("no part has {name}, which it lists");
            Err(FileError::content(&index, reason).into())
        }
        None => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tensors::TensorMap;

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
        let mut names = Vec::new();
        let named = read_each(folder.path(), |name, _| names.push(name.to_owned())).unwrap();
        assert_eq!(names, ["a", "b"]);
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
            let error = read_each(folder(index).path(), |_, _| ()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(INDEX) && error.contains(expected), "{error}");
        }
    }
}
