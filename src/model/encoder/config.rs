//! An encoder's configuration: its sizes, and the tensors and layers that follow from them.

use serde::Serialize;

use crate::model::activation::Activation;
use crate::model::encoder::bert::BERT;
use crate::model::encoder::family::{Family, HeadKind};
use crate::model::encoder::roberta::ROBERTA;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// The families that are known.
pub const FAMILIES: [Family; 2] = [ROBERTA, BERT];

/// What `config.json` says of the architecture, in the words of its keys. How many outputs the
/// head has is the task's to say, so `num_labels` and `id2label` are not read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderConfig {
    /// The family.
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

impl EncoderConfig {
    /// The token that pads a batch. BERT learns from the mask what is padding, so any token serves.
    #[must_use]
    pub fn pad(&self) -> i64 {
        self.pad_token_id.unwrap_or(0)
    }

    /// Whether there is no dropout below the head; see
    /// [`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics).
    #[must_use]
    pub fn has_no_dropout(&self) -> bool {
        self.hidden_dropout_prob == 0.0
    }

    /// Dropout in the classification head.
    #[must_use]
    pub fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// The most tokens a text may have, special tokens included.
    #[must_use]
    pub fn positions(&self) -> i64 {
        self.max_position_embeddings - self.family.unused_positions(self.pad())
    }

    /// Token types that it embeds; `None`: all tokens are of type 0, whatever a tokenizer says.
    #[must_use]
    pub fn types_read(&self) -> Option<i64> {
        let ignored = self.type_vocab_size == 1 && self.family.ignores_single_type();
        (!ignored).then_some(self.type_vocab_size)
    }

    /// The linear layers of the transformer's layers, in the order of the forward pass.
    #[must_use]
    pub fn transformer_layers(&self) -> Vec<LinearLayer> {
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
                module: format!("{}.encoder.layer.{layer}.{name}", self.family.name()),
                layer,
                d_in,
                d_out,
                layout: WeightLayout::OutIn,
            })
            .collect()
    }

    /// Whether the base has a pooler.
    #[must_use]
    pub fn has_pooler(&self) -> bool {
        self.family.head() == HeadKind::Pooled
    }

    /// The pooler, where the family has one below its head.
    fn pooler(&self) -> Option<LinearLayer> {
        let pooler = LinearLayer {
            module: format!("{}.pooler.dense", self.family.name()),
            layer: self.num_hidden_layers,
            d_in: self.hidden_size,
            d_out: self.hidden_size,
            layout: WeightLayout::OutIn,
        };
        self.has_pooler().then_some(pooler)
    }

    /// All linear layers that can have an adapter.
    #[must_use]
    pub fn adaptable_layers(&self) -> Vec<LinearLayer> {
        self.transformer_layers()
            .into_iter()
            .chain(self.pooler())
            .collect()
    }

    /// The tensors below the head, BERT's pooler among them, which a checkpoint may lack.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let prefix = self.family.name();
        let mut tensors = self.embeddings().to_vec();
        tensors.extend(self.norm(&format!("{prefix}.embeddings")));
        let layers = self.transformer_layers();
        tensors.extend(layers.iter().flat_map(|layer| layer.tensors(true)));
        for layer in 0..self.num_hidden_layers {
            let layer = format!("{prefix}.encoder.layer.{layer}");
            tensors.extend(self.norm(&format!("{layer}.attention.output")));
            tensors.extend(self.norm(&format!("{layer}.output")));
        }
        if let Some(pooler) = self.pooler() {
            tensors.extend(pooler.tensors(true).into_iter().map(|tensor| TensorSpec {
                optional: true,
                ..tensor
            }));
        }
        tensors
    }

    fn embeddings(&self) -> [TensorSpec; 3] {
        let padded = |pads: bool| match self.pad_token_id {
            Some(pad) if pads => StartValues::NormalButRow(pad),
            _ => StartValues::Normal,
        };
        let table = |name, rows, start| {
            let name = format!("{}.embeddings.{name}_embeddings.weight", self.family.name());
            TensorSpec::new(name, vec![rows, self.hidden_size], start)
        };
        let positions = self.max_position_embeddings;
        [
            table("word", self.vocab_size, padded(true)),
            table("position", positions, padded(self.family.pads_positions())),
            table("token_type", self.type_vocab_size, StartValues::Normal),
        ]
    }

    fn norm(&self, module: &str) -> [TensorSpec; 2] {
        [("weight", StartValues::Ones), ("bias", StartValues::Zeros)].map(|(end, start)| {
            let name = format!("{module}.LayerNorm.{end}");
            TensorSpec::new(name, vec![self.hidden_size], start)
        })
    }

    /// The classification head's tensors for N outputs.
    #[must_use]
    pub fn classifier_tensors(&self, outputs: i64) -> Vec<TensorSpec> {
        let h = self.hidden_size;
        match self.family.head() {
            HeadKind::TwoLayers => weight_and_bias("classifier.dense", h, h)
                .into_iter()
                .chain(weight_and_bias("classifier.out_proj", outputs, h))
                .collect(),
            HeadKind::Pooled => weight_and_bias("classifier", outputs, h).to_vec(),
        }
    }
}

fn weight_and_bias(module: &str, d_out: i64, d_in: i64) -> [TensorSpec; 2] {
    let weight = format!("{module}.weight");
    let bias = format!("{module}.bias");
    [
        TensorSpec::new(weight, vec![d_out, d_in], StartValues::Normal),
        TensorSpec::new(bias, vec![d_out], StartValues::Zeros),
    ]
}
