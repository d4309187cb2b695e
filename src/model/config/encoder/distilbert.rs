//! DistilBERT's `config.json`, with the defaults of `DistilBertConfig` in transformers 4.57.6, and
//! the names that it takes for its keys besides.

use std::path::Path;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::config::encoder::architecture::{
    CheckpointNames, EncoderArchitecture, EncoderFacts, bytes_of_layers,
};
use crate::model::config::encoder::{
    activation, check_heads, dropout, flag, optional_padding, refuse_other_models, size, size_by,
};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights};
use crate::model::config::model_type::{self, ModelType};
use crate::model::encoder::distilbert::DistilBertConfig;
use crate::model::encoder::head::HeadSpec;
use crate::model::encoder::{Encode, Encoder};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for it.
pub(crate) const DISTILBERT: ModelType = ModelType {
    name: "distilbert",
    title: "DistilBERT",
    class_stem: "DistilBert",
    tensor_part: "distilbert",
};

impl DistilBertConfig {
    /// As [`config::read`](crate::model::config::read), for a DistilBERT.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &[DISTILBERT], |keys, _| parse(keys))
    }
}

/// The configuration that the keys give.
pub(crate) fn parse(keys: Keys<'_>) -> Result<DistilBertConfig, String> {
    refuse_other_models(keys)?;
    let vocab_size = size(keys, "vocab_size", 30_522)?;
    let config = DistilBertConfig {
        vocab_size,
        max_position_embeddings: size(keys, "max_position_embeddings", 512)?,
        sinusoidal_pos_embds: flag(keys, "sinusoidal_pos_embds", false)?,
        n_layers: size_by(keys, ["n_layers", "num_hidden_layers"], 6)?,
        n_heads: size_by(keys, ["n_heads", "num_attention_heads"], 12)?,
        dim: size_by(keys, ["dim", "hidden_size"], 768)?,
        hidden_dim: size(keys, "hidden_dim", 3072)?,
        dropout: dropout(keys, "dropout", 0.1)?,
        attention_dropout: dropout(keys, "attention_dropout", 0.1)?,
        activation: activation(keys, "activation", Activation::Gelu)?,
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        seq_classif_dropout: dropout(keys, "seq_classif_dropout", 0.2)?,
        pad_token_id: optional_padding(keys, 0, vocab_size)?,
        tokenizer_class: keys.text("tokenizer_class")?,
    };
    check_heads(("dim", config.dim), ("n_heads", config.n_heads))?;
    let sizes = "vocab_size, dim, n_layers, hidden_dim and max_position_embeddings";
    check_weights(&config, sizes)?;
    Ok(config)
}

impl EncoderArchitecture for DistilBertConfig {
    fn model_type(&self) -> ModelType {
        DISTILBERT
    }

    fn facts(&self) -> EncoderFacts<'_> {
        let named = self.tokenizer_class.as_deref();
        EncoderFacts {
            layers: self.n_layers,
            width: self.dim,
            initial_spread: self.initializer_range,
            vocabulary: self.vocab_size,
            token_types: None,
            padding: self.pad_token_id,
            max_tokens: self.max_position_embeddings,
            tokenizer_class: named.unwrap_or("DistilBertTokenizer"),
        }
    }

    fn checkpoint_names(&self) -> CheckpointNames {
        CheckpointNames {
            prefix: "distilbert",
            inside: &["embeddings.", "transformer."],
            unused: &[],
            beside: &["pre_classifier.", "classifier."],
        }
    }

    fn adaptable(&self) -> Vec<LinearLayer> {
        self.linear_layers_below_head()
    }

    fn names_of_layers(&self) -> &'static [&'static str] {
        &["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
    }

    /// PEFT has none for it; these are what it has for BERT.
    fn targets(&self) -> &'static [&'static str] {
        &["q_lin", "v_lin"]
    }

    fn attention_inputs(&self) -> Option<[&'static str; 3]> {
        Some(["q_lin", "k_lin", "v_lin"])
    }

    fn below_head(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn head_spec(&self) -> HeadSpec {
        self.head()
    }

    fn set_dropout(&mut self, p: f64) {
        self.dropout = p;
        self.attention_dropout = p;
        self.seq_classif_dropout = p;
    }

    fn bytes_in_training(&self, tokens: u64) -> u64 {
        bytes_of_layers([self.n_layers, self.dim, self.n_heads], tokens, 5)
    }

    fn encoder(&self, root: &View<'_>) -> Result<Box<dyn Encode>, ModelError> {
        Ok(Box::new(Encoder::new(self.body(root)?)))
    }
}
