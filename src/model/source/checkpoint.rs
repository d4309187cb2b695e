//! A checkpoint read into named tensors: of a Hugging Face snapshot folder, or of a GGUF file.

use std::path::Path;
use std::sync::Arc;

use crate::base::allocator;
use crate::base::file_error::FileError;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::architecture::Architecture;
use crate::model::objective::Objective;
use crate::model::source::draw::draw;
use crate::model::source::gguf::file::GgufFile;
use crate::model::source::{shards, soundness};
use crate::model::tensor_spec::TensorSpec;
use crate::model::{ModelError, config};

/// A pretrained model on the host: architecture and float32 tensors under their full names.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The architecture.
    pub architecture: Arc<dyn Architecture>,
    /// The frozen tensors, below the head.
    pub base: TensorMap,
    /// The head, as the file has it or freshly drawn.
    pub head: TensorMap,
    /// Names of the tensors that the file lacks and that were drawn instead.
    pub fresh: Vec<String>,
}

impl Checkpoint {
    /// Reads a snapshot for an objective. What the file lacks of the head and of tensors that it
    /// may lack is drawn as transformers draws it, normal with the architecture's spread and zero
    /// biases, from the run's seed. A head with another number of outputs counts as lacking.
    ///
    /// # Errors
    /// If a file is missing or unreadable, or of an unknown architecture; and when the tensors
    /// are not those of `config.json`, or not finite ([`ModelError::File`]).
    pub fn read(folder: &Path, objective: &Objective, seed: u64) -> Result<Self, ModelError> {
        let architecture = config::read(&folder.join("config.json"))?;
        let (tensors, path) = shards::read(folder)?;
        let base = named(tensors, &*architecture);
        Self::of_tensors(architecture, base, &path, objective, seed)
    }

    /// Reads a GGUF file for an objective, its weights in float32; otherwise as
    /// [`Checkpoint::read`].
    ///
    /// # Errors
    /// If the file cannot be read, or its tensors are not those of its metadata or not finite; and
    /// when they are larger in float32 than this machine's memory.
    pub fn of_gguf(file: &GgufFile, objective: &Objective, seed: u64) -> Result<Self, ModelError> {
        let architecture = file.architecture()?;
        let bytes = u64::try_from(architecture.base_weights()).unwrap_or(0);
        let too_large = |reason| FileError::content(file.path(), reason);
        allocator::require(bytes.saturating_mul(4)).map_err(too_large)?;
        let base = file.read_all(&architecture.base_tensors())?;
        Self::of_tensors(architecture, base, file.path(), objective, seed)
    }

    /// A checkpoint of tensors that were read from `path`.
    fn of_tensors(
        architecture: Arc<dyn Architecture>,
        mut base: TensorMap,
        path: &Path,
        objective: &Objective,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let unsound = |reason: String| FileError::content(path, reason);
        soundness::check(&base, &*architecture, path).map_err(unsound)?;
        let spread = architecture.initial_spread();
        let mut fresh = Vec::new();
        let mut take_or_draw = |base: &mut TensorMap, spec: &TensorSpec| {
            let found = base.0.remove(&spec.name);
            found
                .filter(|tensor| tensor.shape() == spec.shape)
                .unwrap_or_else(|| {
                    fresh.push(spec.name.clone());
                    draw(spec, spread, seed)
                })
        };
        let mut head = TensorMap::default();
        for spec in architecture.head_tensors(objective) {
            let tensor = take_or_draw(&mut base, &spec);
            soundness::check_finite(&spec.name, &tensor).map_err(unsound)?;
            head.insert(&spec.name, tensor);
        }
        let optional = architecture.base_tensors();
        for spec in optional.into_iter().filter(|spec| spec.optional) {
            let tensor = take_or_draw(&mut base, &spec);
            base.insert(&spec.name, tensor);
        }
        Ok(Self {
            architecture,
            base,
            head,
            fresh,
        })
    }
}

impl Checkpoint {
    /// Gives the model an output of its own, with the values of the embeddings that were it too.
    pub fn untie(&mut self) {
        if let Some([table, output]) = self.architecture.tied_output()
            && let Some(untied) = self.architecture.untied()
            && let Some(tensor) = self.base.get(table).cloned()
        {
            self.base.insert(output, tensor);
            self.architecture = untied;
        }
    }
}

/// The tensors that the architecture has a use for, under the names that it has for them.
fn named(tensors: TensorMap, architecture: &dyn Architecture) -> TensorMap {
    let rename = |(name, tensor): (String, HostTensor)| {
        let name = architecture.tensor_named(&name)?;
        Some((name, tensor))
    };
    tensors.0.into_iter().filter_map(rename).collect()
}
