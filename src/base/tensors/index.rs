//! What a safetensors file says that it holds, without its values.

use std::path::Path;

use safetensors::SafeTensors;

use crate::base::tensors::{TensorError, map};

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
/// [`TensorError::Io`] and [`TensorError::Format`], which name the file.
pub fn index(path: &Path) -> Result<Vec<TensorInfo>, TensorError> {
    let bytes = map(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| TensorError::Format {
        path: path.into(),
        reason: crate::base::tensors::no_tensors(&bytes, &error),
    })?;
    let info = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| TensorInfo {
        name: name.to_owned(),
        kind: format!("{:?}", view.dtype()),
        shape: view.shape().to_vec(),
    };
    let mut tensors: Vec<_> = file.iter().map(info).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
