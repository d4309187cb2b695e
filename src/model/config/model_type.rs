//! Which model a `config.json` is of.

use std::path::Path;

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::base::tensors;
use crate::model::ModelError;
use crate::model::config::keys::{Keys, object, refused};

/// A type of model, by the names that files have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModelType {
    /// `model_type`.
    pub name: &'static str,
    /// Its name in prose.
    pub title: &'static str,
    /// What the names of its classes begin with.
    pub class_stem: &'static str,
    /// A part of its tensors' names by which it is known where nothing else says it.
    pub tensor_part: &'static str,
}

impl ModelType {
    /// Whether a class is one of this type: `RobertaForMaskedLM`, `TFBertModel`; not
    /// `RobertaPreLayerNormModel` or `BertGenerationEncoder`.
    fn has_class(self, class: &str) -> bool {
        let class = class.trim_start_matches("TF").trim_start_matches("Flax");
        class
            .strip_prefix(self.class_stem)
            .is_some_and(|rest| rest == "Model" || rest == "LMHeadModel" || rest.starts_with("For"))
    }
}

/// Reads a `config.json` of one of the known types.
///
/// # Errors
/// [`ModelError::NoConfig`] and [`ModelError::File`].
pub(crate) fn read<T>(
    path: &Path,
    known: &[ModelType],
    parse: impl Fn(Keys<'_>, ModelType) -> Result<T, String>,
) -> Result<T, ModelError> {
    of_keys(&object(path)?, path, known, parse)
}

/// As [`read`], for keys that are from this file.
///
/// # Errors
/// [`ModelError::File`].
pub(crate) fn of_keys<T>(
    object: &Map<String, Value>,
    path: &Path,
    known: &[ModelType],
    parse: impl Fn(Keys<'_>, ModelType) -> Result<T, String>,
) -> Result<T, ModelError> {
    let keys = Keys(object);
    let parsed = find(keys, path, known).and_then(|found| parse(keys, found));
    Ok(parsed.map_err(|reason| FileError::content(path, reason))?)
}

/// The type among those that are known: by `model_type`, else by `architectures`, else by the
/// tensors next to the file.
///
/// # Errors
/// If it is not known, or nothing says it.
fn find(keys: Keys<'_>, path: &Path, known: &[ModelType]) -> Result<ModelType, String> {
    let supported = || format!("supported are {}", listed(known));
    match keys.given("model_type") {
        None => {}
        Some(Value::String(name)) => {
            let found = known.iter().find(|it| it.name == name);
            let refused = || refused("model_type", &name.clone().into(), &supported());
            return found.copied().ok_or_else(refused);
        }
        Some(other) => return Err(refused("model_type", other, &supported())),
    }
    match keys.given("architectures") {
        None => {}
        Some(Value::Array(names)) if names.is_empty() => {}
        Some(given @ Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            let found = names.find_map(|name| known.iter().find(|it| it.has_class(name)));
            let refused = || refused("architectures", given, &supported());
            return found.copied().ok_or_else(refused);
        }
        Some(other) => {
            let right = "it must be a list of names";
            return Err(refused("architectures", other, right));
        }
    }
    of_tensors(path, known).ok_or_else(|| {
        let choices: Vec<_> = known
            .iter()
            .map(|it| format!("\"model_type\": \"{}\"", it.name))
            .collect();
        format!(
            "it has neither model_type nor architectures, and the names of the tensors in \
             model.safetensors do not show the architecture either; add {}",
            choices.join(" or ")
        )
    })
}

/// `RoBERTa ("roberta") and BERT ("bert")`.
fn listed(known: &[ModelType]) -> String {
    let names: Vec<_> = known
        .iter()
        .map(|it| format!("{} (\"{}\")", it.title, it.name))
        .collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// By a tensor's name, `roberta.…`, under whatever prefix.
fn of_tensors(path: &Path, known: &[ModelType]) -> Option<ModelType> {
    let index = tensors::index::index(&path.with_file_name("model.safetensors")).ok()?;
    let of_name = |name: &str| {
        let mut parts = name.split('.');
        parts.find_map(|part| known.iter().find(|it| it.tensor_part == part))
    };
    index
        .iter()
        .find_map(|tensor| of_name(&tensor.name))
        .copied()
}
