//! `config.json`, the one place where it is read.
//!
//! | file | holds |
//! |---|---|
//! | `model_type` | which model it is of |
//! | `keys` | one key after another, with refusals that name it |
//! | [`encoder`] | RoBERTa's and BERT's keys, and the architecture that they make |

pub mod encoder;
pub(crate) mod keys;
pub(crate) mod model_type;

use std::path::Path;
use std::sync::Arc;

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::encoder::config::EncoderConfig;

/// Reads and checks a `config.json`. What it leaves out has its architecture's default in
/// transformers; which architecture it is, the names of the tensors next to it may show.
///
/// # Errors
/// [`ModelError::NoConfig`] and [`ModelError::File`], which name the file; the latter also the key.
pub fn read(path: &Path) -> Result<Arc<dyn Architecture>, ModelError> {
    Ok(Arc::new(EncoderConfig::read(path)?))
}
