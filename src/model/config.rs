//! A model's `config.json`, with the keys that transformers writes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ModelError;

/// The architectures that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// RoBERTa: a classification head of two layers on the first token's hidden state.
    Roberta,
    /// BERT: one linear layer on the pooled first token.
    Bert,
}

impl Family {
    /// The prefix of the encoder's tensors in a checkpoint with a head.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Roberta => "roberta",
            Self::Bert => "bert",
        }
    }
}

/// The activation between the two feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x Φ(x)`.
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU by its tanh approximation.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

/// What `config.json` says of the architecture; other keys are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The architecture.
    #[serde(rename = "model_type")]
    pub family: Family,
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Encoder layers.
    pub num_hidden_layers: i64,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Width between the two feed-forward layers.
    pub intermediate_size: i64,
    /// The activation between them.
    pub hidden_act: Activation,
    /// Rows of the position embedding. RoBERTa uses those after the padding index only.
    pub max_position_embeddings: i64,
    /// Rows of the token type embedding.
    pub type_vocab_size: i64,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// Dropout on embeddings and on each sub-layer's output.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Dropout in the head; `hidden_dropout_prob` when absent.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Standard deviation of a fresh head's weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// The padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// Only absolute positions are known.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
}

fn default_initializer_range() -> f64 {
    0.02
}

fn absolute() -> String {
    "absolute".to_owned()
}

/// A linear layer of the encoder that an adapter may target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearLayer {
    /// Its module name, `roberta.encoder.layer.0.attention.self.query`.
    pub module: String,
    /// The encoder layer it belongs to, from 0; see [`ModelConfig::adaptable_layers`].
    pub layer: i64,
    /// Width of its input.
    pub d_in: i64,
    /// Width of its output.
    pub d_out: i64,
}

impl ModelConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Config`], which name the file.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|source| ModelError::Io {
            path: path.into(),
            source,
        })?;
        let wrong = |reason: String| ModelError::Config {
            path: path.into(),
            reason,
        };
        let config: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size < 1 {
                return Err(format!("{key} is {size}; it must be 1 or more"));
            }
        }
        if !(0..self.vocab_size).contains(&self.pad_token_id) {
            let (pad, tokens) = (self.pad_token_id, self.vocab_size);
            return Err(format!("pad_token_id {pad} is none of the {tokens} tokens"));
        }
        let heads = self.num_attention_heads;
        if heads < 1 || self.hidden_size % heads != 0 {
            let hidden = self.hidden_size;
            return Err(format!(
                "hidden_size {hidden} is no multiple of num_attention_heads {heads}"
            ));
        }
        if self.position_embedding_type != "absolute" {
            let kind = &self.position_embedding_type;
            return Err(format!(
                "position_embedding_type {kind:?}: only \"absolute\" is known"
            ));
        }
        let dropouts = [
            Some(self.hidden_dropout_prob),
            Some(self.attention_probs_dropout_prob),
            self.classifier_dropout,
        ];
        if dropouts.iter().flatten().any(|p| !(0.0..1.0).contains(p)) {
            return Err("a dropout probability lies outside [0, 1)".to_owned());
        }
        Ok(())
    }

    /// The configuration with one dropout probability everywhere, as `--model_dropout` sets it.
    #[must_use]
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.hidden_dropout_prob = p;
        self.attention_probs_dropout_prob = p;
        self.classifier_dropout = Some(p);
        self
    }

    /// Whether the model is computed operation by operation as other programs compute it. It is so
    /// without dropout, which serves comparisons with them: products of other shapes, or by another
    /// library, round otherwise, and AdamW makes of a last bit in a gradient near zero a difference
    /// of 1e-3 in a loss within three rounds.
    #[must_use]
    pub fn as_others_do(&self) -> bool {
        self.hidden_dropout_prob == 0.0
    }

    /// Dropout in the classification head.
    #[must_use]
    pub fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// The most tokens a text may have, special tokens included.
    #[must_use]
    pub fn max_tokens(&self) -> i64 {
        match self.family {
            Family::Roberta => self.max_position_embeddings - self.pad_token_id - 1,
            Family::Bert => self.max_position_embeddings,
        }
    }

    /// All linear layers of the encoder, in the order of the forward pass.
    #[must_use]
    pub fn linear_layers(&self) -> Vec<LinearLayer> {
        let (h, wide) = (self.hidden_size, self.intermediate_size);
        let modules = [
            ("attention.self.query", h, h),
            ("attention.self.key", h, h),
            ("attention.self.value", h, h),
            ("attention.output.dense", h, h),
            ("intermediate.dense", h, wide),
            ("output.dense", wide, h),
        ];
        (0..self.num_hidden_layers)
            .flat_map(|layer| modules.map(|(name, d_in, d_out)| (layer, name, d_in, d_out)))
            .map(|(layer, name, d_in, d_out)| LinearLayer {
                module: format!("{}.encoder.layer.{layer}.{name}", self.family.prefix()),
                layer,
                d_in,
                d_out,
            })
            .collect()
    }

    /// All layers that can have an adapter: those of [`ModelConfig::linear_layers`], and BERT's
    /// pooler, which counts as in the layer after the last.
    #[must_use]
    pub fn adaptable_layers(&self) -> Vec<LinearLayer> {
        let pooler = LinearLayer {
            module: format!("{}.pooler.dense", self.family.prefix()),
            layer: self.num_hidden_layers,
            d_in: self.hidden_size,
            d_out: self.hidden_size,
        };
        let pooler = (self.family == Family::Bert).then_some(pooler);
        self.linear_layers().into_iter().chain(pooler).collect()
    }

    /// Names and shapes of the tensors below the head, BERT's pooler among them.
    #[must_use]
    pub fn base_tensors(&self) -> Vec<(String, Vec<i64>)> {
        let (h, prefix) = (self.hidden_size, self.family.prefix());
        let norm = |module: String| {
            [("weight", vec![h]), ("bias", vec![h])]
                .map(|(end, shape)| (format!("{module}.LayerNorm.{end}"), shape))
        };
        let table = |name, rows| {
            let name = format!("{prefix}.embeddings.{name}_embeddings.weight");
            (name, vec![rows, h])
        };
        let mut tensors = vec![
            table("word", self.vocab_size),
            table("position", self.max_position_embeddings),
            table("token_type", self.type_vocab_size),
        ];
        tensors.extend(norm(format!("{prefix}.embeddings")));
        for layer in self.linear_layers() {
            tensors.push((
                format!("{}.weight", layer.module),
                vec![layer.d_out, layer.d_in],
            ));
            tensors.push((format!("{}.bias", layer.module), vec![layer.d_out]));
        }
        for layer in 0..self.num_hidden_layers {
            let layer = format!("{prefix}.encoder.layer.{layer}");
            tensors.extend(norm(format!("{layer}.attention.output")));
            tensors.extend(norm(format!("{layer}.output")));
        }
        if self.family == Family::Bert {
            tensors.push((format!("{prefix}.pooler.dense.weight"), vec![h, h]));
            tensors.push((format!("{prefix}.pooler.dense.bias"), vec![h]));
        }
        tensors
    }

    /// Names and shapes of the classification head's tensors for so many outputs.
    #[must_use]
    pub fn head_tensors(&self, num_labels: i64) -> Vec<(String, Vec<i64>)> {
        let h = self.hidden_size;
        let tensors = match self.family {
            Family::Roberta => vec![
                ("classifier.dense.weight", vec![h, h]),
                ("classifier.dense.bias", vec![h]),
                ("classifier.out_proj.weight", vec![num_labels, h]),
                ("classifier.out_proj.bias", vec![num_labels]),
            ],
            Family::Bert => vec![
                ("classifier.weight", vec![num_labels, h]),
                ("classifier.bias", vec![num_labels]),
            ],
        };
        tensors
            .into_iter()
            .map(|(name, shape)| (name.to_owned(), shape))
            .collect()
    }
}
