//! What a safetensors file says that it holds, without its values.

use std::path::Path;

use safetensors::SafeTensors;

use crate::base::file_error::FileError;
use crate::base::tensors::{map, no_tensors};

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its full name.
    pub name: String,
    /// Its kind in the words of the format: `F32`, `BF16`, `I64`.
    pub kind: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// The tensors of a safetensors file, in name order.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn index(path: &Path) -> Result<Vec<TensorInfo>, FileError> {
    let bytes = map(path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| FileError::content(path, no_tensors(&bytes, &error)))?;
    let info = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| TensorInfo {
        name: name.to_owned(),
        kind: format!("{:?}", view.dtype()),
        shape: view.shape().to_vec(),
    };
    let mut tensors: Vec<_> = file.iter().map(info).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
