//! RoBERTa's and BERT's `config.json` as transformers reads it: each family's own default for a key
//! that is not there, `null` where transformers takes it, and a refusal by key of all else.
//!
//! The defaults are those of `RobertaConfig` and `BertConfig` in transformers 4.46.2. Keys that do
//! not change what the model computes are not read.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::{Architecture, Model};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::{self, ModelType};
use crate::model::encoder::config::{EncoderConfig, FAMILIES};
use crate::model::encoder::family::Family;
use crate::model::heads::classifier::Classifier;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The sizes and the most that each may be; beyond it, it is a mistake or an attack.
const MOST: [(&str, i64); 7] = [
    ("vocab_size", 100_000_000),
    ("hidden_size", 1_000_000),
    ("num_hidden_layers", 10_000),
    ("num_attention_heads", 1_000_000),
    ("intermediate_size", 10_000_000),
    ("max_position_embeddings", 100_000_000),
    ("type_vocab_size", 1_000_000),
];

/// Keys that make another model of it unless they are `false`, `null`, empty or not there.
const NOT_COMPUTED: [(&str, &str); 4] = [
    ("is_decoder", "attention that looks back only"),
    ("add_cross_attention", "attention to another model"),
    ("pruned_heads", "heads that were taken out"),
    ("quantization_config", "weights in integers"),
];

/// The names that files have for the families.
pub(crate) const ENCODERS: [ModelType; 2] = [
    ModelType {
        name: "roberta",
        title: "RoBERTa",
        class_stem: "Roberta",
    },
    ModelType {
        name: "bert",
        title: "BERT",
        class_stem: "Bert",
    },
];

impl EncoderConfig {
    /// As [`config::read`](crate::model::config::read), for an encoder.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &ENCODERS, |keys, found| parse(keys, found.name))
    }
}

/// The configuration of an encoder that the keys give.
pub(crate) fn parse(keys: Keys<'_>, family: &str) -> Result<EncoderConfig, String> {
    let family = FAMILIES.into_iter().find(|it| it.name() == family);
    let family = family.ok_or("it is not an encoder")?;
    for (key, meaning) in NOT_COMPUTED {
        keys.refuse_if_set(key, meaning)?;
    }
    let size = |key, default| {
        let most = MOST.iter().find(|(name, _)| *name == key);
        keys.size(key, default, most.map_or(i64::MAX, |(_, most)| *most))
    };
    let dropout = |key| keys.number(key, 0.1, &(0.0..1.0), "from 0 to less than 1");
    let config = EncoderConfig {
        family,
        vocab_size: size("vocab_size", family.default_vocabulary())?,
        hidden_size: size("hidden_size", 768)?,
        num_hidden_layers: size("num_hidden_layers", 12)?,
        num_attention_heads: size("num_attention_heads", 12)?,
        intermediate_size: size("intermediate_size", 3072)?,
        hidden_act: activation(keys)?,
        max_position_embeddings: size("max_position_embeddings", 512)?,
        type_vocab_size: size("type_vocab_size", 2)?,
        layer_norm_eps: keys.number("layer_norm_eps", 1e-12, &FROM_ZERO, "from 0")?,
        hidden_dropout_prob: dropout("hidden_dropout_prob")?,
        attention_probs_dropout_prob: dropout("attention_probs_dropout_prob")?,
        classifier_dropout: match keys.given("classifier_dropout") {
            None => None,
            Some(_) => Some(dropout("classifier_dropout")?),
        },
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        pad_token_id: padding(keys, family)?,
        position_embedding_type: positions(keys)?,
        tokenizer_class: keys.text("tokenizer_class")?,
    };
    check(&config)?;
    Ok(config)
}

/// The conditions on several keys together.
fn check(config: &EncoderConfig) -> Result<(), String> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    if hidden % heads != 0 {
        return Err(format!(
            "hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
        ));
    }
    let tokens = config.vocab_size;
    if let Some(pad) = config.pad_token_id.filter(|pad| !(0..tokens).contains(pad)) {
        return Err(format!(
            "pad_token_id {pad} is not one of the {tokens} tokens (vocab_size), numbered from 0"
        ));
    }
    if config.max_tokens() < 1 {
        let (positions, pad) = (config.max_position_embeddings, config.padding());
        return Err(format!(
            "max_position_embeddings {positions} leaves no position for a token: RoBERTa's begin \
             after pad_token_id {pad}"
        ));
    }
    let sizes = "vocab_size, hidden_size, num_hidden_layers, intermediate_size and \
                 max_position_embeddings";
    check_weights(config, sizes)
}

fn activation(keys: Keys<'_>) -> Result<Activation, String> {
    let Some(value) = keys.0.get("hidden_act") else {
        return Ok(Activation::Gelu);
    };
    value.as_str().and_then(Activation::find).ok_or_else(|| {
        let names = Activation::ALL.map(Activation::name).join(", ");
        refused("hidden_act", value, &format!("known are {names}"))
    })
}

/// RoBERTa counts positions from the padding token's number, so it needs one.
fn padding(keys: Keys<'_>, family: Family) -> Result<Option<i64>, String> {
    match keys.0.get("pad_token_id") {
        None => Ok(Some(family.default_padding())),
        Some(Value::Null) if family.padding_is_optional() => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| {
            let right = "it must be a token's number; RoBERTa's own is 1, BERT's 0";
            refused("pad_token_id", value, right)
        }),
    }
}

fn positions(keys: Keys<'_>) -> Result<&'static str, String> {
    const ABSOLUTE: &str = "absolute";
    match keys.0.get("position_embedding_type") {
        None => Ok(ABSOLUTE),
        Some(Value::String(kind)) if kind == ABSOLUTE => Ok(ABSOLUTE),
        Some(other) => Err(refused(
            "position_embedding_type",
            other,
            "only \"absolute\" is known",
        )),
    }
}

impl Architecture for EncoderConfig {
    fn name(&self) -> &'static str {
        self.family.name()
    }

    fn summary(&self) -> String {
        let (layers, width) = (self.num_hidden_layers, self.hidden_size);
        format!("{}, {layers} layers of {width}", self.family.name())
    }

    fn linear_layers(&self) -> Vec<LinearLayer> {
        self.adaptable_layers()
    }

    fn layer_names(&self) -> &'static [&'static str] {
        &[
            "query",
            "key",
            "value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        ]
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["query", "value"]
    }

    fn num_layers(&self) -> i64 {
        self.num_hidden_layers
    }

    fn layers_pattern(&self) -> &'static str {
        "layer"
    }

    fn base_tensors(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn head_tensors(&self, objective: &Objective) -> Vec<TensorSpec> {
        self.classifier_tensors(objective.outputs())
    }

    /// Names as the classifier with a head has them: the encoder under the family's prefix, layer
    /// norms by `weight` and `bias` (old checkpoints say `gamma` and `beta`). The classifier of
    /// RoBERTa has no use for the encoder's pooler.
    fn tensor_named(&self, name: &str) -> Option<String> {
        let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
        let name = name.replace("LayerNorm.beta", "LayerNorm.bias");
        let prefix = self.family.name();
        let inside = ["embeddings.", "encoder.", "pooler."];
        let name = match inside.iter().any(|start| name.starts_with(start)) {
            true => format!("{prefix}.{name}"),
            false => name,
        };
        let inner = name
            .strip_prefix(prefix)
            .and_then(|it| it.strip_prefix('.'));
        let is_used = match inner {
            Some(inner) => self.has_pooler() || !inner.starts_with("pooler."),
            None => name.starts_with("classifier."),
        };
        is_used.then_some(name)
    }

    fn initial_spread(&self) -> f64 {
        self.initializer_range
    }

    fn vocabulary(&self) -> i64 {
        self.vocab_size
    }

    fn token_types(&self) -> Option<i64> {
        self.types_read()
    }

    fn padding(&self) -> i64 {
        self.pad()
    }

    fn max_tokens(&self) -> i64 {
        self.positions()
    }

    fn tokenizer_class(&self) -> &str {
        let named = self.tokenizer_class.as_deref();
        named.unwrap_or(self.family.tokenizer_class())
    }

    fn reference_numerics(&self) -> bool {
        self.has_no_dropout()
    }

    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture> {
        let mut config = self.clone();
        config.hidden_dropout_prob = p;
        config.attention_probs_dropout_prob = p;
        config.classifier_dropout = Some(p);
        Arc::new(config)
    }

    /// `2 L s h (34 + 5 a s / h)` bytes in float32, with L layers, s tokens, hidden width h and a
    /// heads (Korthikanti et al., *Reducing Activation Recomputation in Large Transformer Models*,
    /// 2022, who count half of it for 16 bits).
    fn activation_bytes(&self, tokens: u64) -> u64 {
        let (layers, width) = (self.num_hidden_layers as u64, self.hidden_size as u64);
        let heads = self.num_attention_heads as u64;
        let scores = heads.saturating_mul(tokens).saturating_mul(5);
        let of_token = width.saturating_mul(34).saturating_add(scores);
        (2 * layers).saturating_mul(tokens).saturating_mul(of_token)
    }

    /// In the form that fingerprints have had from the first, whatever becomes of the struct.
    fn fingerprint(&self) -> String {
        let Self {
            family,
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            hidden_act,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps,
            hidden_dropout_prob,
            attention_probs_dropout_prob,
            classifier_dropout,
            initializer_range,
            pad_token_id: _,
            position_embedding_type,
            // Tokens are a part of the data.
            tokenizer_class: _,
        } = self;
        let pad_token_id = self.pad();
        format!(
            "ModelConfig {{ family: {family:?}, vocab_size: {vocab_size}, hidden_size: \
             {hidden_size}, num_hidden_layers: {num_hidden_layers}, num_attention_heads: \
             {num_attention_heads}, intermediate_size: {intermediate_size}, hidden_act: \
             {hidden_act:?}, max_position_embeddings: {max_position_embeddings}, type_vocab_size: \
             {type_vocab_size}, layer_norm_eps: {layer_norm_eps:?}, hidden_dropout_prob: \
             {hidden_dropout_prob:?}, attention_probs_dropout_prob: \
             {attention_probs_dropout_prob:?}, classifier_dropout: {classifier_dropout:?}, \
             initializer_range: {initializer_range:?}, pad_token_id: {pad_token_id}, \
             position_embedding_type: {position_embedding_type:?} }}"
        )
    }

    fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(keys)) => keys,
            _ => Map::new(),
        }
    }

    fn class_name(&self, _: &Objective) -> String {
        format!("{}ForSequenceClassification", self.family.class_stem())
    }

    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError> {
        if *objective == Objective::NextToken {
            return Err(ModelError::Refused(format!(
                "a {} reads its text in both directions, so it cannot be trained to give the next \
                 token; name a decoder, such as a GPT-2",
                self.family.title()
            )));
        }
        Ok(())
    }

    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError> {
        self.check_objective(objective)?;
        Ok(Box::new(Classifier::new(root, self, objective.outputs())?))
    }
}

#[cfg(test)]
mod tests;
