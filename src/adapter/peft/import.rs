//! A PEFT folder read into an adapter's tensors.

use std::path::{Path, PathBuf};

use crate::adapter::peft::config::{PeftConfig, PeftError};
use crate::adapter::peft::names::unwrapped;
use crate::adapter::peft::ranks::check_ranks;
use crate::adapter::peft::{BASE_DELTA, PROJECTION};
use crate::adapter::projection::Projection;
use crate::base::file_error::FileError;
use crate::base::tensors::{TensorMap, conversion};

/// The description of an adapter.
const CONFIG_FILE: &str = "adapter_config.json";
/// Its tensors.
const TENSOR_FILE: &str = "adapter_model.safetensors";
/// Its tensors as versions of PEFT before 0.7 wrote them.
const PICKLE_FILE: &str = "adapter_model.bin";

/// An adapter as PEFT saved it, under our names.
#[derive(Debug, Clone)]
pub struct PeftFolder {
    /// The folder.
    pub path: PathBuf,
    /// `adapter_config.json`.
    pub config: PeftConfig,
    /// Adapter tensors and modules saved in full, by their full names in the model.
    pub tensors: TensorMap,
    /// VeRA's projection, when it was saved.
    pub projection: Option<Projection>,
    /// What aggregation changed base weights by, of an adapter that Regatta trained: the
    /// `base_delta.safetensors` in the folder, or beside the `adapter/` of a run.
    pub base_delta: TensorMap,
}

impl PeftFolder {
    /// Reads a folder that PEFT's `save_pretrained` made, or Regatta.
    ///
    /// # Errors
    /// [`PeftError`], naming the file: also when a rank is not the tensors' own.
    pub fn read(path: &Path) -> Result<Self, PeftError> {
        let config = PeftConfig::read(&path.join(CONFIG_FILE))?;
        let file = path.join(TENSOR_FILE);
        if !file.is_file() {
            return Err(no_tensors(path, &file));
        }
        let wrong = |reason: String| FileError::content(&file, reason);
        let mut saved = TensorMap::read(&file)?;
        let [a, b] = PROJECTION.map(|name| saved.0.remove(name));
        let projection = a.zip(b).map(|(a, b)| Projection { a, b });
        let tensors = unwrapped(saved).map_err(wrong)?;
        check_ranks(&config, &tensors).map_err(wrong)?;
        Ok(Self {
            path: path.into(),
            config,
            tensors,
            projection,
            base_delta: read_base_delta(path)?,
        })
    }

    /// `adapter_model.safetensors`.
    #[must_use]
    pub fn tensor_file(&self) -> PathBuf {
        self.path.join(TENSOR_FILE)
    }

    /// An error in `adapter_config.json`.
    pub(crate) fn wrong_config(&self, reason: String) -> PeftError {
        FileError::content(&self.path.join(CONFIG_FILE), reason).into()
    }

    /// An error in `adapter_model.safetensors`.
    pub(crate) fn wrong_tensors(&self, reason: String) -> PeftError {
        FileError::content(&self.tensor_file(), reason).into()
    }
}

/// Why a folder without `adapter_model.safetensors` cannot be read.
fn no_tensors(folder: &Path, path: &Path) -> PeftError {
    if folder.join(PICKLE_FILE).is_file() {
        let reason = format!(
            "only {PICKLE_FILE} is there, a Python pickle; {}",
            conversion(PICKLE_FILE, TENSOR_FILE)
        );
        return FileError::content(path, reason).into();
    }
    let missing = std::io::ErrorKind::NotFound.into();
    PeftError::Incomplete(FileError::read(path)(missing))
}

fn read_base_delta(adapter: &Path) -> Result<TensorMap, FileError> {
    let inside = adapter.join(BASE_DELTA);
    let beside = adapter
        .canonicalize()
        .ok()
        .filter(|path| path.ends_with("adapter"))
        .map(|path| path.with_file_name(BASE_DELTA));
    let found = Some(inside)
        .into_iter()
        .chain(beside)
        .find(|path| path.is_file());
    Ok(found
        .map(|path| TensorMap::read(&path))
        .transpose()?
        .unwrap_or_default())
}
