//! The `config.json` of BERT and its kin as transformers reads it.
//!
//! The defaults are those of `RobertaConfig`, `XLMRobertaConfig`, `BertConfig`
//! and `ElectraConfig` in transformers 4.46.2. Keys that do not change what the model computes are
//! not read.

use std::path::Path;

use serde_json::Value;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::Architecture;
use crate::model::config::encoder::architecture::{
    CheckpointNames, EncoderArchitecture, EncoderFacts, bytes_of_layers,
};
use crate::model::config::encoder::{
    activation, check_heads, dropout, optional_padding, refuse_other_models, size, token_number,
};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::{self, ModelType};
use crate::model::encoder::config::{EncoderConfig, FAMILIES};
use crate::model::encoder::family::Family;
use crate::model::encoder::head::HeadSpec;
use crate::model::encoder::{Encode, Encoder};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for the families.
pub(crate) const BERT_AND_KIN: [ModelType; 4] = [
    names_of(FAMILIES[0]),
    names_of(FAMILIES[1]),
    names_of(FAMILIES[2]),
    names_of(FAMILIES[3]),
];

const fn names_of(family: Family) -> ModelType {
    ModelType {
        name: family.name,
        title: family.title,
        class_stem: family.class_stem,
        tensor_part: family.prefix,
    }
}

impl EncoderConfig {
    /// As [`config::read`](crate::model::config::read), for an encoder.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &BERT_AND_KIN, |keys, found| parse(keys, found.name))
    }
}

/// The configuration of an encoder that the keys give.
pub(crate) fn parse(keys: Keys<'_>, family: &str) -> Result<EncoderConfig, String> {
    let family = FAMILIES.into_iter().find(|it| it.name == family);
    let family = family.ok_or("it is not an encoder")?;
    refuse_other_models(keys)?;
    let size = |key, default| size(keys, key, default);
    let dropout = |key| dropout(keys, key, 0.1);
    let vocab_size = size("vocab_size", family.default_vocabulary)?;
    let default = family.default_sizes;
    let embedding = family.default_embedding;
    let embedding = embedding.map(|default| size("embedding_size", default));
    let config = EncoderConfig {
        family,
        vocab_size,
        embedding_size: embedding.transpose()?,
        hidden_size: size("hidden_size", default.hidden)?,
        num_hidden_layers: size("num_hidden_layers", 12)?,
        num_attention_heads: size("num_attention_heads", default.heads)?,
        intermediate_size: size("intermediate_size", default.intermediate)?,
        hidden_act: activation(keys, "hidden_act", Activation::Gelu)?,
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
        pad_token_id: padding(keys, family, vocab_size)?,
        position_embedding_type: positions(keys)?,
        tokenizer_class: keys.text("tokenizer_class")?,
    };
    check(&config)?;
    Ok(config)
}

/// The conditions on several keys together.
fn check(config: &EncoderConfig) -> Result<(), String> {
    let hidden = ("hidden_size", config.hidden_size);
    check_heads(hidden, ("num_attention_heads", config.num_attention_heads))?;
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

/// RoBERTa counts positions from the padding token's number, so it needs one.
fn padding(keys: Keys<'_>, family: Family, tokens: i64) -> Result<Option<i64>, String> {
    let default = family.default_padding;
    let pad = optional_padding(keys, default, tokens)?;
    match pad {
        None if family.positions_after_padding => Err(refused(
            "pad_token_id",
            &Value::Null,
            &token_number(default),
        )),
        _ => Ok(pad),
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

impl EncoderArchitecture for EncoderConfig {
    fn model_type(&self) -> ModelType {
        names_of(self.family)
    }

    fn facts(&self) -> EncoderFacts<'_> {
        let named = self.tokenizer_class.as_deref();
        EncoderFacts {
            layers: self.num_hidden_layers,
            width: self.hidden_size,
            initial_spread: self.initializer_range,
            vocabulary: self.vocab_size,
            token_types: self.types_read(),
            padding: self.pad_token_id,
            max_tokens: self.positions(),
            tokenizer_class: named.unwrap_or(self.family.tokenizer_class),
        }
    }

    /// The classifier of RoBERTa has no use for the encoder's pooler.
    fn checkpoint_names(&self) -> CheckpointNames {
        CheckpointNames {
            prefix: self.family.prefix,
            inside: &["embeddings.", "embeddings_project.", "encoder.", "pooler."],
            unused: match self.has_pooler() {
                true => &[],
                false => &["pooler."],
            },
            beside: &["classifier."],
        }
    }

    fn adaptable(&self) -> Vec<LinearLayer> {
        self.adaptable_layers()
    }

    fn names_of_layers(&self) -> &'static [&'static str] {
        &[
            "query",
            "key",
            "value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        ]
    }

    fn targets(&self) -> &'static [&'static str] {
        &["query", "value"]
    }

    fn attention_inputs(&self) -> Option<[&'static str; 3]> {
        Some(["query", "key", "value"])
    }

    fn below_head(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn head_spec(&self) -> HeadSpec {
        self.head()
    }

    fn set_dropout(&mut self, p: f64) {
        self.hidden_dropout_prob = p;
        self.attention_probs_dropout_prob = p;
        self.classifier_dropout = Some(p);
    }

    fn bytes_in_training(&self, tokens: u64) -> u64 {
        let sizes = [
            self.num_hidden_layers,
            self.hidden_size,
            self.num_attention_heads,
        ];
        bytes_of_layers(sizes, tokens, 5)
    }

    /// In the form that fingerprints have had from the first, whatever becomes of the struct.
    fn identity(&self) -> String {
        let Self {
            family,
            vocab_size,
            embedding_size,
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
        let family = family.class_stem;
        let embedding = embedding_size.map(|size| format!("embedding_size: {size}, "));
        let embedding = embedding.unwrap_or_default();
        format!(
            "ModelConfig {{ family: {family}, vocab_size: {vocab_size}, {embedding}hidden_size: \
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

    fn encoder(&self, root: &View<'_>) -> Result<Box<dyn Encode>, ModelError> {
        Ok(Box::new(Encoder::new(self.body(root)?)))
    }
}

#[cfg(test)]
mod tests;
