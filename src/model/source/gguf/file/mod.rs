//! A GGUF file at hand: its configuration, and its tensors under their Hugging Face names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::tensors::HostTensor;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::config::of_keys;
use crate::model::source::gguf::architecture::GgufArchitecture;
use crate::model::source::gguf::config;
use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::header::{GgufHeader, GgufTensor};
use crate::model::source::gguf::names::{self, Storage, TensorUse};
use crate::model::source::gguf::quantised::dequantise;
use crate::model::source::gguf::reader::HeaderReader;
use crate::model::source::gguf::tokenizer::TokenizerParts;
use crate::model::tensor_spec::TensorSpec;

/// An open GGUF file. Weights are read one tensor at a time, when they are asked for.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    header: GgufHeader,
    architecture: &'static GgufArchitecture,
    config: Map<String, Value>,
    /// By Hugging Face name.
    parameters: BTreeMap<String, Parameter>,
}

/// A tensor that is a parameter of the model.
#[derive(Debug)]
struct Parameter {
    tensor: GgufTensor,
    storage: Storage,
    /// Heads whose rows lie in pairs, if they do.
    paired_heads: Option<u64>,
}

impl GgufFile {
    /// Opens a file and reads everything but the weights.
    ///
    /// # Errors
    /// If it cannot be read; is not a GGUF file, damaged or cut short; or holds a model, a type
    /// of weights or a tensor that is not supported.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let failed = |source| GgufError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let header = GgufHeader::read(&mut HeaderReader::new(BufReader::new(&file), path, size))?;
        let architecture = GgufArchitecture::of(&header.metadata)?;
        let layers = config::layers(&header, architecture)?;
        let (mut parameters, mut factors) = (Vec::new(), None);
        for tensor in &header.tensors {
            let used = architecture
                .use_of(&tensor.name, layers)
                .map_err(|reason| GgufError::tensor(path, &tensor.name, reason))?;
            match used {
                TensorUse::Parameter(name, storage) => parameters.push((name, storage, tensor)),
                TensorUse::RopeFactors => factors = Some(read(&file, tensor).map_err(failed)?),
                TensorUse::Derived => {}
            }
        }
        let config = config::config(&header, architecture, factors.as_deref())?;
        let parameters = parameters
            .into_iter()
            .map(|(name, storage, tensor)| {
                Ok((name, Parameter::new(tensor, storage, &config, path)?))
            })
            .collect::<Result<_, GgufError>>()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            architecture,
            config,
            parameters,
            header,
        })
    }

    /// Its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture that its metadata give.
    ///
    /// # Errors
    /// If they give none that can be built.
    pub fn architecture(&self) -> Result<Arc<dyn Architecture>, ModelError> {
        of_keys(&self.config, &self.path)
    }

    /// What the model's `config.json` says.
    #[must_use]
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The parameters, by Hugging Face name; their shapes and types.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &GgufTensor)> {
        self.parameters
            .iter()
            .map(|(name, parameter)| (name.as_str(), &parameter.tensor))
    }

    /// The parameter of that Hugging Face name in float32, as it is in a Hugging Face checkpoint.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn read(&self, name: &str) -> Result<HostTensor, GgufError> {
        let wrong = |reason: &str| GgufError::tensor(&self.path, name, reason);
        let parameter = self
            .parameters
            .get(name)
            .ok_or_else(|| wrong("it is missing"))?;
        let tensor = &parameter.tensor;
        let mut values = read(&self.file, tensor).map_err(|source| GgufError::Io {
            path: self.path.clone(),
            source,
        })?;
        if let Some(heads) = parameter.paired_heads {
            values = names::unpair(&values, tensor.shape[0] as usize, heads as usize);
        }
        if parameter.storage == Storage::OneMore {
            values.iter_mut().for_each(|value| *value -= 1.0);
        }
        HostTensor::new(tensor.shape.clone(), values).map_err(|error| wrong(&error.to_string()))
    }

    /// Hands out these tensors, which are all that the model has, one by one in float32.
    ///
    /// # Errors
    /// If one is missing, of another shape, one too many, or cannot be read.
    pub fn read_each(
        &self,
        specs: &[TensorSpec],
        mut take: impl FnMut(&str, HostTensor),
    ) -> Result<(), GgufError> {
        self.check(specs)?;
        for spec in specs {
            take(&spec.name, self.read(&spec.name)?);
        }
        Ok(())
    }

    /// Refuses parameters that are not those of the model.
    fn check(&self, specs: &[TensorSpec]) -> Result<(), GgufError> {
        for spec in specs {
            let Some(parameter) = self.parameters.get(&spec.name) else {
                let name = self.architecture.in_file(&spec.name);
                let name = name.as_deref().unwrap_or(&spec.name);
                let reason = "it is missing, and the model needs it; fetch the whole file";
                return Err(GgufError::tensor(&self.path, name, reason));
            };
            let found = &parameter.tensor;
            if found.shape != spec.shape {
                let reason = format!(
                    "it has shape {:?}, expected {:?} by the keys of the file",
                    found.shape, spec.shape
                );
                return Err(GgufError::tensor(&self.path, &found.name, reason));
            }
        }
        let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let mut others = self.parameters.iter();
        match others.find(|(name, _)| !known.contains(name.as_str())) {
            None => Ok(()),
            Some((_, parameter)) => {
                let reason = "the model that the keys of the file describe has none of that name, \
                              and would differ without it";
                Err(GgufError::tensor(
                    &self.path,
                    &parameter.tensor.name,
                    reason,
                ))
            }
        }
    }

    /// The parts of the tokenizer.
    ///
    /// # Errors
    /// If a part is missing or of another type than it should be, or there are more tokens than
    /// embeddings.
    pub fn tokenizer_parts(&self) -> Result<TokenizerParts, GgufError> {
        let parts = TokenizerParts::read(&self.header.metadata)?;
        let embeddings = self.config.get("vocab_size").and_then(Value::as_u64);
        match embeddings.filter(|count| parts.tokens.len() as u64 > *count) {
            None => Ok(parts),
            Some(count) => {
                let reason = format!(
                    "it has {} tokens, but the model has {count} embeddings",
                    parts.tokens.len()
                );
                Err(self.header.metadata.wrong("tokenizer.ggml.tokens", reason))
            }
        }
    }

    /// The chat template, in Jinja, where there is one.
    ///
    /// # Errors
    /// If it is not a string.
    pub fn chat_template(&self) -> Result<Option<&str>, GgufError> {
        self.header.metadata.text("tokenizer.chat_template")
    }
}

impl Parameter {
    fn new(
        tensor: &GgufTensor,
        storage: Storage,
        config: &Map<String, Value>,
        path: &Path,
    ) -> Result<Self, GgufError> {
        let count = |key: &str| config.get(key).and_then(Value::as_u64);
        let heads = match storage {
            Storage::Same | Storage::OneMore => None,
            Storage::QueryPairs => count("num_attention_heads"),
            Storage::KeyPairs => count("num_key_value_heads"),
        };
        let rows = tensor.shape[0] as u64;
        let expected = heads
            .zip(count("head_dim"))
            .map(|(heads, size)| heads.saturating_mul(size));
        if let Some(expected) = expected.filter(|expected| *expected != rows) {
            let reason = format!("it has {rows} rows, expected {expected}, those of all heads");
            return Err(GgufError::tensor(path, &tensor.name, reason));
        }
        Ok(Self {
            tensor: tensor.clone(),
            storage,
            paired_heads: heads,
        })
    }
}

/// A tensor's weights in float32, in the file's order.
fn read(file: &File, tensor: &GgufTensor) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; tensor.bytes as usize];
    file.read_exact_at(&mut bytes, tensor.start)?;
    Ok(dequantise(tensor.kind, &bytes))
}

#[cfg(test)]
mod tests;
