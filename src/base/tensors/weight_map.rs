//! The files of a checkpoint's weights: `model.safetensors`, or several, listed in
//! `model.safetensors.index.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde_json::Value;

use crate::base::file_error::FileError;
use crate::base::files;

/// The weights in one file.
pub const WHOLE: &str = "model.safetensors";

/// The list of files, where they are in several.
pub const INDEX: &str = "model.safetensors.index.json";

/// Whether a folder has weights, whole or in parts.
#[must_use]
pub fn has_weights(folder: &Path) -> bool {
    folder.join(WHOLE).is_file() || folder.join(INDEX).is_file()
}

/// The tensors of a model, each with the name of the file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightMap(BTreeMap<String, String>);

impl WeightMap {
    /// Reads a `model.safetensors.index.json`.
    ///
    /// # Errors
    /// If it cannot be read, names no tensor, or a file that is not beside it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let wrong = |reason: String| FileError::content(path, reason);
        let json: Value = serde_json::from_slice(&files::read(path)?)
            .map_err(|error| wrong(format!("not a JSON object: {error}")))?;
        let listed = json.get("weight_map").and_then(Value::as_object);
        let listed = listed.ok_or_else(|| wrong("it has no weight_map, an object".to_owned()))?;
        if listed.is_empty() {
            return Err(wrong(
                "weight_map is empty; it must name each tensor's file, so fetch the whole snapshot"
                    .to_owned(),
            ));
        }
        let entry = |(tensor, file): (&String, &Value)| {
            let name = file.as_str().filter(|name| is_plain(name));
            let name = name.ok_or_else(|| {
                wrong(format!(
                    "weight_map has {tensor} in {file}; it must be the name of a file beside it"
                ))
            })?;
            Ok((tensor.clone(), name.to_owned()))
        };
        listed.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The files that they are in.
    #[must_use]
    pub fn files(&self) -> BTreeSet<&str> {
        self.0.values().map(String::as_str).collect()
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

    fn read(text: &str) -> Result<WeightMap, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        std::fs::write(&path, text).unwrap();
        assert!(has_weights(folder.path()));
        WeightMap::read(&path)
    }

    #[test]
    fn each_file_is_named_once_and_each_tensor() {
        let map = read(r#"{"weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}"#).unwrap();
        assert_eq!(map.tensors().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            map.files().into_iter().collect::<Vec<_>>(),
            ["1.safetensors"]
        );
    }

    #[test]
    fn a_list_that_names_nothing_or_leads_elsewhere_is_refused() {
        for (text, expected) in [
            (
                r#"{"weight_map": {"a": "../a.safetensors"}}"#,
                "a file beside it",
            ),
            (
                r#"{"weight_map": {"a": "/a.safetensors"}}"#,
                "a file beside it",
            ),
            (r#"{"weight_map": {"a": 1}}"#, "a file beside it"),
            (r#"{"weight_map": {}}"#, "weight_map is empty"),
            (r#"{"weights": {}}"#, "no weight_map"),
            ("{", "not a JSON object: EOF"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(INDEX) && error.contains(expected), "{error}");
        }
    }
}
