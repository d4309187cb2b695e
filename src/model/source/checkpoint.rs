//! A checkpoint read into named tensors: of a Hugging Face snapshot folder, or of a GGUF file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::base::allocator;
use crate::base::file_error::FileError;
use crate::base::tensors::TensorMap;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::objective::Objective;
use crate::model::quantised::weight::QuantisedWeight;
use crate::model::source::draw::draw;
use crate::model::source::gather::Gathered;
use crate::model::source::gguf::file::GgufFile;
use crate::model::source::{shards, soundness};
use crate::model::tensor_spec::TensorSpec;
use crate::model::{ModelError, config};

/// A pretrained model on the host: architecture and tensors under their full names, in float32 unless
/// said otherwise.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The architecture.
    pub architecture: Arc<dyn Architecture>,
    /// The frozen tensors, below the head, but for those in `quantised`.
    pub base: TensorMap,
    /// Weights of linear layers that are held in fewer bits than float32, by name.
    pub quantised: BTreeMap<String, QuantisedWeight>,
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
        Self::read_as(folder, objective, seed, &BaseForm::float32())
    }

    /// The same, held in a form.
    ///
    /// # Errors
    /// As [`Checkpoint::read`], and if a weight has a value that the form cannot hold.
    pub fn read_as(
        folder: &Path,
        objective: &Objective,
        seed: u64,
        form: &BaseForm<'_>,
    ) -> Result<Self, ModelError> {
        let architecture = config::read(&folder.join("config.json"))?;
        let mut gathered = Gathered::new(form, &*architecture);
        // The architecture has no use for others.
        let path = shards::read_each(folder, |name, tensor| {
            if let Some(name) = architecture.tensor_named(name) {
                gathered.add(name, tensor);
            }
        })?;
        Self::of_tensors(architecture, gathered, &path, objective, seed)
    }

    /// Reads a GGUF file for an objective, its weights in float32; otherwise as
    /// [`Checkpoint::read`].
    ///
    /// # Errors
    /// As [`Checkpoint::of_gguf_as`].
    pub fn of_gguf(file: &GgufFile, objective: &Objective, seed: u64) -> Result<Self, ModelError> {
        Self::of_gguf_as(file, objective, seed, &BaseForm::float32())
    }

    /// The same, held in a form.
    ///
    /// # Errors
    /// If the file cannot be read, or its tensors are not those of its metadata or not finite; and
    /// when they are larger in that form than this machine's memory.
    pub fn of_gguf_as(
        file: &GgufFile,
        objective: &Objective,
        seed: u64,
        form: &BaseForm<'_>,
    ) -> Result<Self, ModelError> {
        let architecture = file.architecture()?;
        let too_large = |reason| FileError::content(file.path(), reason);
        allocator::require(form.bytes(&*architecture)).map_err(too_large)?;
        let mut gathered = Gathered::new(form, &*architecture);
        file.read_each(&architecture.base_tensors(), |name, tensor| {
            gathered.add(name.to_owned(), tensor);
        })?;
        Self::of_tensors(architecture, gathered, file.path(), objective, seed)
    }

    /// A checkpoint of tensors that were read from `path`.
    fn of_tensors(
        architecture: Arc<dyn Architecture>,
        gathered: Gathered,
        path: &Path,
        objective: &Objective,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let unsound = |reason: String| FileError::content(path, reason);
        soundness::check(&gathered.tensors, &gathered.quantised, &*architecture, path)
            .map_err(unsound)?;
        gathered.check().map_err(unsound)?;
        let Gathered {
            tensors: mut base,
            quantised,
            ..
        } = gathered;
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
            quantised,
            head,
            fresh,
        })
    }

    /// Bytes of the frozen tensors.
    #[must_use]
    pub fn base_bytes(&self) -> u64 {
        let quantised = self.quantised.values().map(QuantisedWeight::bytes);
        self.base.bytes() + quantised.sum::<u64>()
    }

    /// The shape of a frozen tensor as files have it, if there is one of that name.
    #[must_use]
    pub fn base_shape(&self, name: &str) -> Option<Vec<i64>> {
        let in_float32 = self.base.get(name).map(|tensor| tensor.shape().to_vec());
        in_float32.or_else(|| Some(self.quantised.get(name)?.shape().to_vec()))
    }

    /// Brings weights that are held in fewer bits to float32: the values that they are multiplied with.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn dequantise(&mut self) -> Result<(), ModelError> {
        while let Some((name, weight)) = self.quantised.pop_first() {
            self.base.insert(name, weight.to_host()?);
        }
        Ok(())
    }

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
