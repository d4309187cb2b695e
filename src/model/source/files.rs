//! A model's files: a snapshot folder, a GGUF file, or an architecture whose weights are drawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::base::tensors::weight_map::has_weights;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::config;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::gguf::file::GgufFile;
use crate::model::source::known::ArchitectureName;

/// The source of a model's configuration and weights.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A Hugging Face snapshot.
    Snapshot(PathBuf),
    /// A GGUF file, whose weights are read in float32.
    Gguf(Arc<GgufFile>),
    /// Weights drawn from the run's seed, with a tokenizer from elsewhere.
    Random {
        /// The architecture.
        architecture: Arc<dyn Architecture>,
        /// A `tokenizer.json`.
        tokenizer: PathBuf,
    },
}

impl ModelFiles {
    /// The model at a path: a GGUF file, a folder that holds one GGUF file and no snapshot, or else
    /// a snapshot folder.
    ///
    /// # Errors
    /// If a GGUF file cannot be read, or the folder holds several.
    pub fn at(path: &Path) -> Result<Self, ModelError> {
        if path.is_file() {
            return Self::gguf(path);
        }
        if path.join("config.json").is_file() || has_weights(path) {
            return Ok(Self::Snapshot(path.to_owned()));
        }
        match gguf_files(path)?.as_slice() {
            [] => Ok(Self::Snapshot(path.to_owned())),
            [file] => Self::gguf(file),
            several => {
                let names: Vec<_> = several.iter().filter_map(|file| file.file_name()).collect();
                let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
                let reason = format!(
                    "it holds several GGUF files, {}; name the one that is meant",
                    names.join(", ")
                );
                Err(FileError::content(path, reason).into())
            }
        }
    }

    fn gguf(path: &Path) -> Result<Self, ModelError> {
        Ok(Self::Gguf(Arc::new(GgufFile::open(path)?)))
    }

    /// A model whose weights are to be drawn.
    ///
    /// # Errors
    /// If the architecture's file cannot be read.
    pub fn random(name: &ArchitectureName, tokenizer: &Path) -> Result<Self, ModelError> {
        Ok(Self::Random {
            architecture: name.read()?,
            tokenizer: tokenizer.to_owned(),
        })
    }

    /// The architecture.
    ///
    /// # Errors
    /// If `config.json` cannot be read, or a GGUF file's metadata describe no such model.
    pub fn architecture(&self) -> Result<Arc<dyn Architecture>, ModelError> {
        match self {
            Self::Snapshot(folder) => config::read(&folder.join("config.json")),
            Self::Gguf(file) => file.architecture(),
            Self::Random { architecture, .. } => Ok(Arc::clone(architecture)),
        }
    }

    /// The weights for an objective, in float32.
    ///
    /// # Errors
    /// As [`ModelFiles::checkpoint_as`].
    pub fn checkpoint(&self, objective: &Objective, seed: u64) -> Result<Checkpoint, ModelError> {
        self.checkpoint_as(objective, seed, &BaseForm::float32())
    }

    /// The weights for an objective, held in a form.
    ///
    /// # Errors
    /// As [`Checkpoint::read_as`], [`Checkpoint::of_gguf_as`] and [`Checkpoint::random_as`].
    pub fn checkpoint_as(
        &self,
        objective: &Objective,
        seed: u64,
        form: &BaseForm<'_>,
    ) -> Result<Checkpoint, ModelError> {
        match self {
            Self::Snapshot(folder) => Checkpoint::read_as(folder, objective, seed, form),
            Self::Gguf(file) => Checkpoint::of_gguf_as(file, objective, seed, form),
            Self::Random { architecture, .. } => {
                Checkpoint::random_as(Arc::clone(architecture), objective, seed, form)
            }
        }
    }

    /// All of `config.json`, or what it would say.
    ///
    /// # Errors
    /// If it cannot be read, or is not a JSON object.
    pub fn config_json(&self) -> Result<Map<String, Value>, ModelError> {
        match self {
            Self::Snapshot(folder) => config::keys::object(&folder.join("config.json")),
            Self::Gguf(file) => Ok(file.config().clone()),
            Self::Random { architecture, .. } => Ok(architecture.to_json()),
        }
    }
}

/// Whether a path is, by its name, a GGUF file's.
#[must_use]
pub fn is_gguf_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// The GGUF files in a folder, by name.
///
/// # Errors
/// If there is no such folder, or it cannot be read.
pub fn gguf_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(FileError::read(folder))?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| is_gguf_name(path) && path.is_file());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::gguf::sample::GgufSample;

    fn with_files(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let bytes = match is_gguf_name(Path::new(name)) {
                true => GgufSample::llama().bytes(),
                false => b"{}".to_vec(),
            };
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn file_of(model: &ModelFiles) -> Option<&str> {
        match model {
            ModelFiles::Gguf(file) => file.path().file_name()?.to_str(),
            ModelFiles::Snapshot(_) | ModelFiles::Random { .. } => None,
        }
    }

    #[test]
    fn a_gguf_file_is_found_by_its_path_and_alone_in_a_folder() {
        let folder = with_files(&["LICENSE", "a.GGUF"]);
        for path in [folder.path().to_owned(), folder.path().join("a.GGUF")] {
            assert_eq!(file_of(&ModelFiles::at(&path).unwrap()), Some("a.GGUF"));
        }
    }

    #[test]
    fn a_snapshot_is_preferred_to_a_gguf_file_beside_it() {
        for name in [
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
        ] {
            let folder = with_files(&[name, "a.gguf", "b.gguf"]);
            let model = ModelFiles::at(folder.path()).unwrap();
            assert!(matches!(model, ModelFiles::Snapshot(_)), "{name}");
        }
    }

    #[test]
    fn several_gguf_files_are_an_error_that_lists_them() {
        let folder = with_files(&["b.gguf", "a.gguf"]);
        let error = ModelFiles::at(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("several GGUF files, a.gguf, b.gguf; name"),
            "{error}"
        );
    }

    #[test]
    fn a_gguf_file_gives_an_architecture_its_weights_and_a_config_json() {
        let folder = with_files(&["a.gguf"]);
        let model = ModelFiles::at(folder.path()).unwrap();
        let architecture = model.architecture().unwrap();
        assert_eq!(architecture.summary(), "llama, 1 layers of 8");
        assert!(architecture.end_tokens().is_empty());
        assert_eq!(model.config_json().unwrap()["model_type"], "llama");
        let checkpoint = model.checkpoint(&Objective::NextToken, 1).unwrap();
        assert_eq!(checkpoint.base.iter().count(), 11);
        assert!(checkpoint.fresh.is_empty() && checkpoint.head.is_empty());
    }
}
