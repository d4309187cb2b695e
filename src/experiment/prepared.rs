//! A run's model, adapter, method and data, shared by all threads.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::population::{LayerGroup, tensor_name};
use crate::aggregate::Method;
use crate::aggregate::state::GlobalState;
use crate::base::files;
use crate::config::plan::Plan;
use crate::data::encoded::EncodedSplit;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::experiment::prompts::PromptSet;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::tasks::Task;
use crate::train::client_round::LocalTraining;
use crate::train::precision::Compute;

/// A run's model, adapter, method and data.
pub struct Experiment {
    /// The plan.
    pub plan: Plan,
    /// The pretrained model.
    pub checkpoint: Checkpoint,
    /// The layers that get an adapter.
    pub layers: Vec<LinearLayer>,
    /// The same by shape.
    pub groups: Vec<LayerGroup>,
    /// The adapter as the server keeps it.
    pub adapter: Arc<dyn Adapter>,
    /// Each client's own adapter, where ranks differ.
    pub client_adapters: Vec<Arc<dyn Adapter>>,
    /// The aggregation method.
    pub method: &'static dyn Method,
    /// Names of base tensors that are trained in full: biases, modules to save.
    pub trained_base: BTreeSet<String>,
    /// The state before the first round.
    pub initial: GlobalState,
    /// What the model is trained to give.
    pub objective: Objective,
    /// The training split, tokenised.
    pub train: EncodedSplit,
    /// The validation splits, tokenised.
    pub validation: Vec<EncodedSplit>,
    /// The test splits as read; tokenised when predictions are requested.
    pub test: Vec<Split>,
    /// The prompts of the validation splits and the test splits; none where no text is written.
    pub prompts: Vec<PromptSet>,
    /// The tokens that end a text that the model writes.
    pub end_tokens: Vec<i64>,
    /// Each client's positions in the training split.
    pub shards: Vec<Vec<u32>>,
    /// Each client's name, which keys its random streams.
    pub client_names: Vec<String>,
    pub(crate) encoder: TextEncoder,
}

impl Experiment {
    /// A client's adapter.
    #[must_use]
    pub fn adapter_of(&self, client: usize) -> &dyn Adapter {
        self.client_adapters
            .get(client)
            .map_or(&*self.adapter, |own| &**own)
    }

    /// Names and shapes of what a client trains in a round: its adapter as far as the method has
    /// it trained, the head, and base tensors trained in full.
    #[must_use]
    pub fn trained_by(&self, client: usize, round: u32) -> Vec<(String, Vec<i64>)> {
        let adapter = self.adapter_of(client);
        let of_layer = |layer: &LinearLayer| {
            let tensors = adapter.tensors(layer).into_iter();
            let trained = tensors.filter(|tensor| self.method.trains(tensor, round));
            trained
                .map(|t| (tensor_name(layer, t.suffix), t.shape))
                .collect::<Vec<_>>()
        };
        let mut expected: Vec<_> = self.layers.iter().flat_map(of_layer).collect();
        let shape = |map: &crate::base::tensors::TensorMap, name: &str| {
            map.get(name)
                .map(|tensor| tensor.shape().to_vec())
                .unwrap_or_default()
        };
        let head = self.checkpoint.head.iter();
        expected.extend(head.map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())));
        let base = self.trained_base.iter();
        expected.extend(base.map(|name| (name.clone(), shape(&self.checkpoint.base, name))));
        expected
    }

    /// The settings of a client's round.
    #[must_use]
    pub fn local_training(&self) -> LocalTraining {
        let plan = &self.plan.training;
        LocalTraining {
            epochs: plan.local_epochs,
            batch_size: plan.batch_size as usize,
            lr: plan.lr,
            warmup_ratio: plan.warmup_ratio,
            weight_decay: plan.weight_decay,
            shuffle: plan.shuffle,
            label_smoothing: plan.label_smoothing,
            max_grad_norm: plan.max_grad_norm,
        }
    }

    /// The numeric settings of a device.
    #[must_use]
    pub fn compute(&self, device: tch::Device) -> Compute {
        let precision = self.plan.devices.precision(self.plan.training.precision);
        Compute::of(precision, device)
    }

    /// The padding token.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.encoder.pad_id()
    }

    /// Tokenises a split.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode(&self, split: &Split) -> Result<EncodedSplit, DataError> {
        encode_with_cache(&*self.plan.data.task, &self.encoder, split)
    }
}

pub(crate) fn encode_with_cache(
    task: &dyn Task,
    encoder: &TextEncoder,
    split: &Split,
) -> Result<EncodedSplit, DataError> {
    let cache = files::cache_folder().map(|folder| folder.join("tokens"));
    task.encode(split, encoder, cache.as_deref())
}
