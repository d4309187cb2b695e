//! The weights of a snapshot: `model.safetensors`, or the parts that
//! `model.safetensors.index.json` lists.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::base::file_error::FileError;
use crate::base::files;
use crate::base::tensors::TensorMap;
use crate::model::ModelError;

/// The weights in one file.
pub const WHOLE: &str = "model.safetensors";

/// The list of files, where they are in several.
pub const INDEX: &str = "model.safetensors.index.json";

/// Whether a folder has weights, whole or in parts.
#[must_use]
pub fn has_weights(folder: &Path) -> bool {
    folder.join(WHOLE).is_file() || folder.join(INDEX).is_file()
}

/// All tensors of a snapshot, and the file that says which there are.
///
/// # Errors
/// If a file is missing or unreadable, or a part lacks a tensor that the list has in it.
pub(crate) fn read(folder: &Path) -> Result<(TensorMap, PathBuf), ModelError> {
    let (whole, index) = (folder.join(WHOLE), folder.join(INDEX));
    if whole.is_file() || !index.is_file() {
        return Ok((TensorMap::read(&whole)?, whole));
    }
    let wrong = |reason: String| FileError::content(&index, reason);
    let text = files::read(&index)?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let listed = json.get("weight_map").and_then(Value::as_object);
    let listed = listed.ok_or_else(|| wrong("it has no weight_map, an object".to_owned()))?;
    let mut parts = BTreeSet::new();
    for (tensor, file) in listed {
        let name = file.as_str().filter(|name| is_plain(name));
        let name = name.ok_or_else(|| {
            wrong(format!(
                "weight_map has {tensor} in {file}; it must be the name of a file beside it"
            ))
        })?;
        parts.insert(name);
    }
    let mut tensors = TensorMap::default();
    for part in parts {
        let path = folder.join(part);
        if !path.is_file() {
            let missing = format!("{part}, which it lists, is not there; fetch the whole snapshot");
            return Err(wrong(missing).into());
        }
        tensors.0.extend(TensorMap::read(&path)?.0);
    }
    let missing = listed.keys().find(|name| tensors.get(name).is_none());
    match missing {
        Some(name) => Err(wrong(format!("no part has {name}, which it lists")).into()),
        None => Ok((tensors, index)),
    }
}

/// Whether a name leads nowhere else.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    )
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
        assert!(has_weights(folder.path()));
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
            (
                r#"{"weight_map": {"a": "../a.safetensors"}}"#,
                "a file beside it",
            ),
            (r#"{"weight_map": {"a": 1}}"#, "a file beside it"),
            (r#"{"weights": {}}"#, "no weight_map"),
            ("{", "EOF"),
        ] {
            let error = read(folder(index).path()).unwrap_err().to_string();
            assert!(error.contains(INDEX) && error.contains(expected), "{error}");
        }
    }
}
