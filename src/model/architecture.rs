//! What an architecture must tell and do: everything outside this folder knows a model by these two
//! traits alone.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tch::{Device, Tensor};

use crate::model::ModelError;
use crate::model::decoder::cache::KvCache;
use crate::model::dropout::Masks;
use crate::model::inputs::Inputs;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::loss::{Labels, Loss};
use crate::model::objective::Objective;
use crate::model::stacked_tensors::StackedTensors;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// An architecture with its sizes: what `config.json` says.
pub trait Architecture: fmt::Debug + Send + Sync {
    /// Its name as `model_type`.
    fn name(&self) -> &'static str;

    /// The model in a few words: `bert, 6 layers of 384`.
    fn summary(&self) -> String;

    /// The linear layers that an adapter may target, in the order of the forward pass. Those behind
    /// the last transformer layer, such as BERT's pooler, count as in one more.
    fn linear_layers(&self) -> Vec<LinearLayer>;

    /// The ends of the layers' names by which users know them, for messages.
    fn layer_names(&self) -> &'static [&'static str];

    /// The layers that PEFT adapts where nothing is said.
    fn default_targets(&self) -> &'static [&'static str];

    /// The ends of the names of the three layers that make queries, keys and values of one input, in
    /// each transformer layer; `None`: one layer makes all of them.
    fn query_key_value(&self) -> Option<[&'static str; 3]> {
        None
    }

    /// The number of transformer layers.
    fn num_layers(&self) -> i64;

    /// The name before the number in the layers' names.
    fn layers_pattern(&self) -> &'static str;

    /// The tensors below the head.
    fn base_tensors(&self) -> Vec<TensorSpec>;

    /// The tensors of the head for an objective; none where the base gives it as it is.
    fn head_tensors(&self, objective: &Objective) -> Vec<TensorSpec> {
        let _ = objective;
        Vec::new()
    }

    /// The tensor, (vocabulary, hidden), that hidden states are multiplied by for logits; `None`: it
    /// has none.
    fn output_table(&self) -> Option<&'static str> {
        None
    }

    /// The table of token embeddings and the output that is one with it, by their tensors' names;
    /// the model has only the first. `None`: the output is another tensor, or a head.
    fn tied_output(&self) -> Option<[&'static str; 2]> {
        None
    }

    /// The same with an output apart from its embeddings, if there can be one.
    fn untied(&self) -> Option<Arc<dyn Architecture>> {
        None
    }

    /// The tensor that a checkpoint's name stands for: names may lack the model's prefix, or be
    /// those of an older version. `None`: the model has no use for it.
    fn tensor_named(&self, name: &str) -> Option<String>;

    /// Standard deviation of weights that are drawn.
    fn initial_spread(&self) -> f64;

    /// Tokens in the vocabulary.
    fn vocabulary(&self) -> i64;

    /// Token types that it embeds; `None`: it reads none.
    fn token_types(&self) -> Option<i64> {
        None
    }

    /// The token that pads a batch.
    fn padding(&self) -> i64;

    /// The tokens that end a text that the model writes.
    fn end_tokens(&self) -> &[i64] {
        &[]
    }

    /// The most tokens a text may have, special tokens included.
    fn max_tokens(&self) -> i64;

    /// The class of the tokenizer in transformers, where its files do not say it.
    fn tokenizer_class(&self) -> &str;

    /// The same with one dropout probability everywhere.
    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture>;

    /// Bytes of one example's activations in training, in float32, with N tokens.
    fn activation_bytes(&self, tokens: u64) -> u64;

    /// What identifies the architecture in a run's fingerprint. It must not change from one version
    /// of the program to the next, or runs cannot be resumed by it.
    fn fingerprint(&self) -> String;

    /// The keys of `config.json`.
    fn to_json(&self) -> Map<String, Value>;

    /// The class of the whole model in transformers, for an objective.
    fn class_name(&self, objective: &Objective) -> String;

    /// What transformers' `from_pretrained` must be told so that it computes this model, as Python has
    /// it.
    fn loading_argument(&self) -> Option<&'static str> {
        None
    }

    /// Whether the architecture can be trained for an objective.
    ///
    /// # Errors
    /// If not: why, and what would be right.
    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError>;

    /// The model whose tensors `root` shows.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape, or as [`Architecture::check_objective`].
    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError>;
}

impl dyn Architecture + '_ {
    /// Frozen tensors that are to lie one below the other on a device: on a GPU those of layers that make
    /// queries, keys and values of one input. On the processor weights are the checkpoint's own memory,
    /// and stacks would hold them twice.
    #[must_use]
    pub fn stacked_on(&self, device: Device) -> StackedTensors {
        match (device, self.query_key_value()) {
            (Device::Cuda(_), Some(ends)) => {
                StackedTensors::of_layers(&self.linear_layers(), &ends)
            }
            _ => StackedTensors::default(),
        }
    }

    /// Weights below the head, if there are no more than a number can count.
    #[must_use]
    pub fn base_weights(&self) -> i64 {
        let tensors = self.base_tensors().into_iter();
        tensors.fold(0, |sum, tensor| i64::saturating_add(sum, tensor.len()))
    }

    /// Whether its linear layers store their weights as (d_in, d_out): PEFT's `fan_in_fan_out`.
    #[must_use]
    pub fn stores_in_out(&self) -> bool {
        let layers = self.linear_layers();
        layers
            .iter()
            .any(|layer| layer.layout == WeightLayout::InOut)
    }
}

/// A model on a device, with adapters attached. It is cheap to build and copies no weights.
pub trait Model {
    /// What a batch's loss is computed from. Drops out in training only: when there are masks.
    ///
    /// # Shapes
    /// A classifier's logits, (rows, outputs); a language model's last hidden states, (rows, tokens,
    /// hidden), of whose [logits](CausalLm::logits) few are needed.
    ///
    /// # Errors
    /// If libtorch fails.
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError>;

    /// The loss of outputs. With a smoothing of `p`, a label has the share 1 − `p` of what is to be
    /// given, and `p` is divided evenly among all classes or tokens: Szegedy et al., *Rethinking the
    /// Inception Architecture*, 2016, as transformers' `LabelSmoother` has it. A score is not
    /// smoothed.
    ///
    /// # Errors
    /// If the labels are another kind of model's, or libtorch fails.
    fn loss(&self, outputs: &Tensor, labels: &Labels, smoothing: f64) -> Result<Loss, ModelError>;

    /// The last hidden states, as far as the head reads them, of the batches of several clients in
    /// one pass, with the masks of all.
    ///
    /// # Errors
    /// If libtorch fails.
    fn joint_hidden(&self, batches: &[Inputs], masks: &Masks) -> Result<Vec<Tensor>, ModelError>;

    /// The [outputs](Self::outputs) from a batch's last hidden states, with its own masks.
    ///
    /// # Errors
    /// If libtorch fails.
    fn outputs_of(
        &self,
        hidden: &Tensor,
        inputs: &Inputs,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError>;

    /// The losses of several batches' outputs, as [`Self::loss`] has them, where computing them
    /// together spares reading a large frozen weight once for each. By default, one by one.
    ///
    /// # Errors
    /// As [`Self::loss`].
    fn losses(
        &self,
        outputs: &[Tensor],
        labels: &[Labels],
        smoothing: f64,
    ) -> Result<Vec<Loss>, ModelError> {
        let losses = outputs.iter().zip(labels);
        losses
            .map(|(outputs, labels)| self.loss(outputs, labels, smoothing))
            .collect()
    }

    /// Has the model keep only the inputs of its layers in training, and compute the layers once
    /// more in the backward pass: the same results in less memory and more time.
    fn checkpoint_blocks(&mut self);

    /// Leads the gradients on where autograd stopped, after a backward pass from the loss.
    ///
    /// # Errors
    /// If libtorch fails.
    fn finish_backward(&self) -> Result<(), ModelError>;

    /// The model as one that writes text, if it is.
    fn as_causal(&self) -> Option<&dyn CausalLm> {
        None
    }
}

/// A model that writes text, token by token.
pub trait CausalLm: Model {
    /// The logits, (…, vocabulary), of hidden states, (…, hidden).
    ///
    /// # Errors
    /// If libtorch fails.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError>;

    /// The last hidden state of each prompt, (rows, hidden), of prompts of one length, (rows, tokens).
    /// Each becomes a text of the cache.
    ///
    /// # Errors
    /// If libtorch fails.
    fn read_prompts(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError>;

    /// The hidden state, (texts, hidden), of the next token, (texts), of each text of the cache.
    ///
    /// # Errors
    /// If there is not a token for each text, or libtorch fails.
    fn read_next(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError>;

    /// Where it is.
    fn device(&self) -> Device;
}
