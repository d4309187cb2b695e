//! `config.json`, the one place where it is read.
//!
//! | file | holds |
//! |---|---|
//! | `model_type` | which model it is of |
//! | `keys` | one key after another, with refusals that name it |
//! | [`encoder`] | the keys of encoders, a file each, and the architecture that they make |
//! | [`decoder`] | those of GPT-2, of Llama and of its like, a file each |

pub mod decoder;
pub mod encoder;
pub(crate) mod keys;
pub(crate) mod model_type;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config::decoder::architecture::{ROTARY, rotary_model};
use crate::model::config::decoder::gpt2;
use crate::model::config::decoder::gpt2::GPT2;
use crate::model::config::encoder::bert::BERT_AND_KIN;
use crate::model::config::encoder::deberta::{DEBERTA, DEBERTA_V2};
use crate::model::config::encoder::distilbert::DISTILBERT;
use crate::model::config::encoder::modernbert::MODERNBERT;
use crate::model::config::encoder::{bert, deberta, distilbert, modernbert};
use crate::model::config::model_type::ModelType;

/// All types of models that are known.
pub(crate) static KNOWN: [ModelType; 14] = [
    BERT_AND_KIN[0],
    BERT_AND_KIN[1],
    BERT_AND_KIN[2],
    BERT_AND_KIN[3],
    DISTILBERT,
    MODERNBERT,
    DEBERTA_V2,
    DEBERTA,
    GPT2,
    ROTARY[0].model_type(),
    ROTARY[1].model_type(),
    ROTARY[2].model_type(),
    ROTARY[3].model_type(),
    ROTARY[4].model_type(),
];

/// Reads and checks a `config.json`. What it leaves out has its architecture's default in
/// transformers; which architecture it is, the names of the tensors next to it may show.
///
/// # Errors
/// [`ModelError::NoConfig`] and [`ModelError::File`], which name the file; the latter also the key.
pub fn read(path: &Path) -> Result<Arc<dyn Architecture>, ModelError> {
    of_keys(&keys::object(path)?, path)
}

/// As [`read`], for the keys that `path`, a file of another kind, comes to.
pub(crate) fn of_keys(
    object: &Map<String, Value>,
    path: &Path,
) -> Result<Arc<dyn Architecture>, ModelError> {
    model_type::of_keys(object, path, &KNOWN, |keys, found| {
        let rotary = rotary_model(found.name);
        Ok::<Arc<dyn Architecture>, _>(match (rotary, found.name) {
            (Some(model), _) => Arc::new((model.parse)(keys)?),
            (None, "gpt2") => Arc::new(gpt2::parse(keys)?),
            (None, "distilbert") => Arc::new(distilbert::parse(keys)?),
            (None, "modernbert") => Arc::new(modernbert::parse(keys)?),
            (None, "deberta" | "deberta-v2") => {
                Arc::new(deberta::parse(keys, deberta::version(found))?)
            }
            (None, name) => Arc::new(bert::parse(keys, name)?),
        })
    })
}
