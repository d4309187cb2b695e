//! A trained model as a whole: base, delta, adapter and head under Hugging Face names.

use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::adapter::peft::export::ExportError;
use crate::adapter::population::tensor_name;
use crate::base::file_error::FileError;
use crate::base::files;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::data::tokenizer::gguf;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::files::ModelFiles;
use crate::runs::export::trained::TrainedModel;
use crate::tasks::Task;

/// The files that a tokenizer may consist of.
const TOKENIZER_FILES: [&str; 11] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
];

/// How transformers writes text with a model: its end tokens among others.
const GENERATION_FILE: &str = "generation_config.json";

/// All tensors of the model: `W = W₀ + delta + s ΔW` in adapted layers, and what was trained in
/// full in its place. An output that is one with the embeddings is not repeated. Where the two were
/// trained apart, the checkpoint becomes one of a model that is not tied.
///
/// # Errors
/// If adapter or delta belong to another model.
pub fn merged(
    trained: &TrainedModel,
    checkpoint: &mut Checkpoint,
) -> Result<TensorMap, ExportError> {
    let mut folder = trained.folder.clone();
    folder.match_output(checkpoint);
    let mut tensors = checkpoint.base.clone();
    tensors.0.extend(checkpoint.head.clone().0);
    for (name, delta) in folder.base_delta.iter() {
        add(&mut tensors, name, &delta.to_tensor(Device::Cpu)?)?;
    }
    let mut in_full = folder.tensors;
    trained.each_layer(&*checkpoint.architecture, |layer, suffixes, factors| {
        for suffix in suffixes {
            in_full.0.remove(&tensor_name(layer, suffix));
        }
        add(
            &mut tensors,
            &layer.weight(),
            &layer.as_weight(&factors.product()?)?,
        )
    })?;
    for (name, tensor) in in_full.0 {
        let shape = tensor.shape().to_vec();
        *held(&mut tensors, &name, &shape)? = tensor;
    }
    Ok(tensors)
}

/// Adds to a weight, in float64.
fn add(tensors: &mut TensorMap, name: &str, change: &Tensor) -> Result<(), ModelError> {
    let weight = held(tensors, name, &change.size())?;
    let before = weight.to_tensor(Device::Cpu)?.f_to_kind(Kind::Double)?;
    *weight = HostTensor::from_tensor(&before.f_add(change)?)?;
    Ok(())
}

/// The model's tensor of that name, which must have that shape.
fn held<'a>(
    tensors: &'a mut TensorMap,
    name: &str,
    shape: &[i64],
) -> Result<&'a mut HostTensor, ModelError> {
    let known = tensors.0.get_mut(name).ok_or_else(|| ModelError::Missing {
        name: name.to_owned(),
    })?;
    if known.shape() != shape {
        return Err(ModelError::Shape {
            name: name.to_owned(),
            expected: known.shape().to_vec(),
            got: shape.to_vec(),
        });
    }
    Ok(known)
}

/// The base model's `config.json` for the merged model of the task, in float32.
///
/// # Errors
/// If the file cannot be read.
pub fn config(
    base: &ModelFiles,
    merged: &dyn Architecture,
    task: &dyn Task,
) -> Result<Map<String, Value>, ExportError> {
    let objective = task.objective();
    let architecture = merged.class_name(&objective);
    let mut config = base.config_json()?;
    for stale in [
        "_name_or_path",
        "dtype",
        "num_labels",
        "transformers_version",
    ] {
        config.remove(stale);
    }
    config.insert("architectures".to_owned(), json!([architecture]));
    config.insert("torch_dtype".to_owned(), json!("float32"));
    if merged.tied_output() != base.architecture()?.tied_output() {
        config.insert("tie_word_embeddings".to_owned(), json!(false));
    }
    match objective {
        Objective::Classes(names) => {
            config.extend(outputs("single_label_classification", &names));
        }
        Objective::Multilabel(names) => {
            config.extend(outputs("multi_label_classification", &names));
        }
        Objective::Score => config.extend(outputs("regression", &["score".to_owned()])),
        Objective::NextToken => {}
    }
    Ok(config)
}

/// What `config.json` says of a head's outputs.
fn outputs(problem: &str, names: &[String]) -> [(String, Value); 3] {
    let by_number = names.iter().enumerate();
    let id2label: Map<_, _> = by_number
        .clone()
        .map(|(i, name)| (i.to_string(), json!(name)))
        .collect();
    let label2id: Map<_, _> = by_number
        .map(|(i, name)| (name.clone(), json!(i)))
        .collect();
    [
        ("problem_type".to_owned(), json!(problem)),
        ("id2label".to_owned(), id2label.into()),
        ("label2id".to_owned(), label2id.into()),
    ]
}

/// Copies how the base model writes text, if it says.
///
/// # Errors
/// If the file cannot be read or written.
pub fn copy_generation(base: &ModelFiles, folder: &Path) -> Result<(), FileError> {
    let ModelFiles::Snapshot(base) = base else {
        return Ok(());
    };
    let file = base.join(GENERATION_FILE);
    match file.is_file() {
        true => files::write_atomically(&folder.join(GENERATION_FILE), &files::read(&file)?),
        false => Ok(()),
    }
}

/// Copies what there is of a tokenizer, or writes what a GGUF file has of it. `other` is a
/// tokenizer.json that took the place of the model's own.
///
/// # Errors
/// If a file cannot be read or written, or a GGUF file's tokenizer cannot be used.
pub fn copy_tokenizer(
    base: &ModelFiles,
    other: Option<&Path>,
    folder: &Path,
) -> Result<(), ExportError> {
    let tokenizer = match (other, base) {
        (_, ModelFiles::Random { tokenizer, .. }) => tokenizer.clone(),
        (Some(other), _) => other.to_owned(),
        (None, ModelFiles::Snapshot(base)) => base.join(TOKENIZER_FILES[0]),
        (None, ModelFiles::Gguf(file)) => {
            let written = gguf::files(file);
            let written = written.map_err(|error| ExportError::Refused(error.to_string()))?;
            for (name, text) in written {
                files::write_atomically(&folder.join(name), text.as_bytes())?;
            }
            return Ok(());
        }
    };
    // The file itself, by whatever name, and the files next to it that are read with it.
    let beside = TOKENIZER_FILES[1..]
        .iter()
        .map(|name| (tokenizer.with_file_name(name), folder.join(name)))
        .filter(|(file, _)| file.is_file());
    let whole = (tokenizer.clone(), folder.join(TOKENIZER_FILES[0]));
    for (file, copy) in std::iter::once(whole).chain(beside) {
        files::write_atomically(&copy, &files::read(&file)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::known::ArchitectureName;

    #[test]
    fn a_tokenizer_from_elsewhere_is_copied_with_what_lies_beside_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokenizer = from.path().join("mine.json");
        for name in ["mine.json", "tokenizer_config.json", "model.safetensors"] {
            std::fs::write(from.path().join(name), name).unwrap();
        }
        let model =
            ModelFiles::random(&ArchitectureName::Named("roberta-base"), &tokenizer).unwrap();
        copy_tokenizer(&model, None, to.path()).unwrap();
        let copied = |name: &str| std::fs::read_to_string(to.path().join(name)).ok();
        assert_eq!(copied("tokenizer.json").as_deref(), Some("mine.json"));
        let config = copied("tokenizer_config.json");
        assert_eq!(config.as_deref(), Some("tokenizer_config.json"));
        assert_eq!(copied("model.safetensors"), None);
    }

    #[test]
    fn a_gguf_files_tokenizer_is_written_as_transformers_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/gguf/llama.gguf"
        );
        let model = ModelFiles::at(file.as_ref()).unwrap();
        copy_tokenizer(&model, None, folder.path()).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let text = std::fs::read(folder.path().join(name)).unwrap();
            let json: Map<String, Value> = serde_json::from_slice(&text).unwrap();
            assert!(!json.is_empty(), "{name}");
        }
    }
}
