//! A model's configuration: its sizes, and the tensors and layers that follow from them.

use serde::Serialize;

use crate::model::activation::Activation;

/// The architectures that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// RoBERTa: a classification head of two layers on the first token's hidden state.
    Roberta,
    /// BERT: one linear layer on the pooled first token.
    Bert,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Roberta, Self::Bert];

    /// Its name as `model_type`, and the prefix of the encoder's tensors in a checkpoint with a
    /// head.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Roberta => "roberta",
            Self::Bert => "bert",
        }
    }
}

/// What `config.json` says of the architecture, in the words of its keys. How many outputs the
/// head has is the task's to say, so `num_labels` and `id2label` are not read.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Dropout in the head; `hidden_dropout_prob` when `None`.
    pub classifier_dropout: Option<f64>,
    /// Standard deviation of a fresh head's weights.
    pub initializer_range: f64,
    /// The padding token; `None` for a BERT that names none.
    pub pad_token_id: Option<i64>,
    /// Only absolute positions are known.
    pub position_embedding_type: &'static str,
    /// The class of the tokenizer that goes with the model, where `config.json` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_class: Option<String>,
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
    /// The token that pads a batch. BERT learns from the mask what is padding, so any token serves.
    #[must_use]
    pub fn padding(&self) -> i64 {
        self.pad_token_id.unwrap_or(0)
    }

    /// The class of the tokenizer: the one that is named, else the architecture's own.
    #[must_use]
    pub fn class_of_tokenizer(&self) -> &str {
        self.tokenizer_class
            .as_deref()
            .unwrap_or(match self.family {
                Family::Roberta => "RobertaTokenizer",
                Family::Bert => "BertTokenizer",
            })
    }

    /// Weights below the head, if there are no more than a number can count.
    #[must_use]
    pub fn base_weights(&self) -> i64 {
        let tensors = self.base_tensors().into_iter();
        let sizes = tensors.map(|(_, shape)| shape.into_iter().fold(1, i64::saturating_mul));
        sizes.fold(0, i64::saturating_add)
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
    pub fn reference_numerics(&self) -> bool {
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
            Family::Roberta => self.max_position_embeddings - self.padding() - 1,
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

    /// Names and shapes of the classification head's tensors for N outputs.
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
