//! A PEFT folder read into an adapter's tensors.

use std::path::{Path, PathBuf};

use super::config::{PeftConfig, PeftError};
use super::{BASE_DELTA, PREFIX, PROJECTION};
use crate::adapter::projection::Projection;
use crate::tensors::{HostTensor, TensorMap};

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
    /// [`PeftError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, PeftError> {
        let config = PeftConfig::read(&path.join("adapter_config.json"))?;
        let file = path.join("adapter_model.safetensors");
        let wrong = |reason: String| PeftError::Format {
            path: file.clone(),
            reason,
        };
        let mut saved = TensorMap::read(&file)?;
        let [a, b] = PROJECTION.map(|name| saved.0.remove(name));
        let projection = a.zip(b).map(|(a, b)| Projection { a, b });
        let rename = |(name, tensor): (String, HostTensor)| match name.strip_prefix(PREFIX) {
            Some(inner) => Ok((module_name(inner), tensor)),
            None => Err(wrong(format!("tensor {name} does not begin with {PREFIX}"))),
        };
        let tensors = saved
            .0
            .into_iter()
            .map(rename)
            .collect::<Result<TensorMap, _>>()?;
        Ok(Self {
            path: path.into(),
            config,
            tensors,
            projection,
            base_delta: read_base_delta(path)?,
        })
    }
}

fn read_base_delta(adapter: &Path) -> Result<TensorMap, PeftError> {
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

/// The name as the model has it: PEFT wraps modules, and its wrappers show in some names.
#[must_use]
pub fn module_name(peft: &str) -> String {
    let unwrapped = peft
        .replace(".modules_to_save.default.", ".")
        .replace(".base_layer.", ".");
    let unwrapped = unwrapped.replace(".default.", ".");
    unwrapped
        .strip_suffix(".default")
        .unwrap_or(&unwrapped)
        .to_owned()
}
