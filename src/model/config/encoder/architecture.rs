//! What an encoder's family tells of itself, and the [`Architecture`] that follows from it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::ModelError;
use crate::model::architecture::{Architecture, Model};
use crate::model::config::keys::object_of;
use crate::model::config::model_type::ModelType;
use crate::model::encoder::Encode;
use crate::model::encoder::head::HeadSpec;
use crate::model::heads::classifier::Classifier;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// How a checkpoint names the tensors of a classifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointNames {
    /// What the encoder's names begin with where it has a head.
    pub prefix: &'static str,
    /// What they begin with behind that, or without it.
    pub inside: &'static [&'static str],
    /// What is within the prefix, and of no use to a classifier.
    pub unused: &'static [&'static str],
    /// What the names of the tensors beside the encoder begin with; others are of no use.
    pub beside: &'static [&'static str],
}

impl CheckpointNames {
    /// See [`Architecture::tensor_named`]. Old checkpoints call the weight and bias of a norm
    /// `gamma` and `beta`.
    fn tensor_named(&self, name: &str) -> Option<String> {
        let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
        let name = name.replace("LayerNorm.beta", "LayerNorm.bias");
        let starts = |name: &str, starts: &[&str]| starts.iter().any(|it| name.starts_with(it));
        let name = match starts(&name, self.inside) {
            true => format!("{}.{name}", self.prefix),
            false => name,
        };
        let inner = name
            .strip_prefix(self.prefix)
            .and_then(|it| it.strip_prefix('.'));
        let is_used = match inner {
            Some(inner) => !starts(inner, self.unused),
            None => starts(&name, self.beside),
        };
        is_used.then_some(name)
    }
}

/// What an encoder tells of itself in one value each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderFacts<'a> {
    /// The number of layers.
    pub layers: i64,
    /// Width of the hidden states.
    pub width: i64,
    /// See [`Architecture::initial_spread`].
    pub initial_spread: f64,
    /// See [`Architecture::vocabulary`].
    pub vocabulary: i64,
    /// See [`Architecture::token_types`].
    pub token_types: Option<i64>,
    /// The padding token; `None`: any token serves.
    pub padding: Option<i64>,
    /// See [`Architecture::max_tokens`].
    pub max_tokens: i64,
    /// See [`Architecture::tokenizer_class`].
    pub tokenizer_class: &'a str,
}

/// What an encoder's family tells of itself. Its fields are the keys of `config.json`.
pub(crate) trait EncoderArchitecture:
    fmt::Debug + Clone + Serialize + Send + Sync + 'static
{
    /// Its names in files and in prose.
    fn model_type(&self) -> ModelType;

    /// What one value says each.
    fn facts(&self) -> EncoderFacts<'_>;

    /// How a checkpoint names its tensors.
    fn checkpoint_names(&self) -> CheckpointNames;

    /// See [`Architecture::linear_layers`].
    fn adaptable(&self) -> Vec<LinearLayer>;

    /// See [`Architecture::layer_names`].
    fn names_of_layers(&self) -> &'static [&'static str];

    /// See [`Architecture::default_targets`].
    fn targets(&self) -> &'static [&'static str];

    /// See [`Architecture::query_key_value`].
    fn attention_inputs(&self) -> Option<[&'static str; 3]>;

    /// See [`Architecture::layers_pattern`].
    fn name_before_number(&self) -> &'static str {
        "layer"
    }

    /// See [`Architecture::base_tensors`].
    fn below_head(&self) -> Vec<TensorSpec>;

    /// The classification head.
    fn head_spec(&self) -> HeadSpec;

    /// See [`Architecture::with_dropout`].
    fn set_dropout(&mut self, p: f64);

    /// See [`Architecture::activation_bytes`].
    fn bytes_in_training(&self, tokens: u64) -> u64;

    /// See [`Architecture::fingerprint`]. By default the keys of `config.json` but for the
    /// tokenizer's class: tokens are a part of the data.
    fn identity(&self) -> String {
        let mut keys = Architecture::to_json(self);
        keys.remove("tokenizer_class");
        Value::from(keys).to_string()
    }

    /// What it computes below its head, of the tensors that `root` shows.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    fn encoder(&self, root: &View<'_>) -> Result<Box<dyn Encode>, ModelError>;
}

/// The classifier of an encoder, with N outputs, of the tensors that `root` shows.
///
/// # Errors
/// If a tensor is missing or of another shape.
#[expect(
    private_bounds,
    reason = "the families are public, what they tell is not"
)]
pub fn classifier<E: EncoderArchitecture>(
    config: &E,
    root: &View<'_>,
    outputs: i64,
) -> Result<Classifier, ModelError> {
    let (encoder, head) = (config.encoder(root)?, config.head_spec());
    Classifier::new(root, encoder, &head, outputs)
}

impl<E: EncoderArchitecture> Architecture for E {
    fn name(&self) -> &'static str {
        self.model_type().name
    }

    fn summary(&self) -> String {
        let EncoderFacts { layers, width, .. } = self.facts();
        format!("{}, {layers} layers of {width}", self.model_type().name)
    }

    fn linear_layers(&self) -> Vec<LinearLayer> {
        self.adaptable()
    }

    fn layer_names(&self) -> &'static [&'static str] {
        self.names_of_layers()
    }

    fn default_targets(&self) -> &'static [&'static str] {
        self.targets()
    }

    fn query_key_value(&self) -> Option<[&'static str; 3]> {
        self.attention_inputs()
    }

    fn num_layers(&self) -> i64 {
        self.facts().layers
    }

    fn layers_pattern(&self) -> &'static str {
        self.name_before_number()
    }

    fn base_tensors(&self) -> Vec<TensorSpec> {
        self.below_head()
    }

    fn head_tensors(&self, objective: &Objective) -> Vec<TensorSpec> {
        self.head_spec().trained(objective.outputs())
    }

    fn tensor_named(&self, name: &str) -> Option<String> {
        self.checkpoint_names().tensor_named(name)
    }

    fn initial_spread(&self) -> f64 {
        self.facts().initial_spread
    }

    fn vocabulary(&self) -> i64 {
        self.facts().vocabulary
    }

    fn token_types(&self) -> Option<i64> {
        self.facts().token_types
    }

    fn padding(&self) -> i64 {
        self.facts().padding.unwrap_or(0)
    }

    fn max_tokens(&self) -> i64 {
        self.facts().max_tokens
    }

    fn tokenizer_class(&self) -> &str {
        self.facts().tokenizer_class
    }

    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture> {
        let mut config = self.clone();
        config.set_dropout(p);
        Arc::new(config)
    }

    fn activation_bytes(&self, tokens: u64) -> u64 {
        self.bytes_in_training(tokens)
    }

    fn fingerprint(&self) -> String {
        self.identity()
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut keys = object_of(serde_json::to_value(self).unwrap_or_default());
        keys.insert("model_type".to_owned(), self.model_type().name.into());
        keys
    }

    fn class_name(&self, _: &Objective) -> String {
        format!("{}ForSequenceClassification", self.model_type().class_stem)
    }

    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError> {
        if *objective == Objective::NextToken {
            return Err(ModelError::Refused(format!(
                "{} models read a text in both directions, so they cannot be trained to give the \
                 next token; name a decoder, such as a GPT-2",
                self.model_type().title
            )));
        }
        Ok(())
    }

    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError> {
        self.check_objective(objective)?;
        Ok(Box::new(classifier(self, root, objective.outputs())?))
    }
}

/// `2 L s h (34 + 5 a s / h)` bytes in float32, with L layers, s tokens, hidden width h and a heads
/// (Korthikanti et al., *Reducing Activation Recomputation in Large Transformer Models*, 2022, who
/// count half of it for 16 bits); `scores` is the 5, values of 16 bits kept of each score.
pub(crate) fn bytes_of_layers([layers, width, heads]: [i64; 3], tokens: u64, scores: u64) -> u64 {
    let [layers, width, heads] = [layers, width, heads].map(|size| size as u64);
    let scores = heads.saturating_mul(tokens).saturating_mul(scores);
    let of_token = width.saturating_mul(34).saturating_add(scores);
    (2 * layers).saturating_mul(tokens).saturating_mul(of_token)
}
