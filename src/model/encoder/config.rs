//! An encoder's configuration: its sizes, and the tensors and layers that follow from them.

use serde::Serialize;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::encoder::bert::BERT;
use crate::model::encoder::electra::ELECTRA;
use crate::model::encoder::embeddings::{EmbeddingSum, TypeTable};
use crate::model::encoder::family::{Family, HeadKind};
use crate::model::encoder::head::{HeadSpec, norm_tensors};
use crate::model::encoder::layer::PostNormLayer;
use crate::model::encoder::layer_spec::{BERT_MODULES, LayerSpec, linear_layer};
use crate::model::encoder::post_norm::PostNormBody;
use crate::model::encoder::roberta::ROBERTA;
use crate::model::encoder::xlm_roberta::XLM_ROBERTA;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::{Embedding, LayerNorm};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::{StartValues, TensorSpec};
use crate::model::weights::View;

/// The families that are known. Where tensors' names alone tell, RoBERTa comes before XLM-RoBERTa,
/// which has the same.
pub const FAMILIES: [Family; 4] = [ROBERTA, BERT, XLM_ROBERTA, ELECTRA];

/// What `config.json` says of the architecture, in the words of its keys. How many outputs the
/// head has is the task's to say, so `num_labels` and `id2label` are not read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderConfig {
    /// The family.
    #[serde(rename = "model_type")]
    pub family: Family,
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the embeddings, where the family has one apart from that of the hidden states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<i64>,
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
        let ignored = self.type_vocab_size == 1 && self.family.ignores_single_type;
        (!ignored).then_some(self.type_vocab_size)
    }

    /// What all layers are like.
    fn layer_spec(&self) -> LayerSpec {
        LayerSpec {
            modules: &BERT_MODULES,
            width: self.hidden_size,
            wide: self.intermediate_size,
            heads: self.num_attention_heads,
            activation: self.hidden_act,
            eps: self.layer_norm_eps,
            probs_dropout: self.attention_probs_dropout_prob,
            attention_dropout: self.hidden_dropout_prob,
            output_dropout: self.hidden_dropout_prob,
        }
    }

    /// Width of the embeddings.
    fn embedding_width(&self) -> i64 {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// The layer between embeddings and hidden states of different widths. It has no number that a
    /// layer has.
    fn projection(&self) -> Option<LinearLayer> {
        let (width, h) = (self.embedding_width(), self.hidden_size);
        let module = format!("{}.embeddings_project", self.family.prefix);
        (width != h).then(|| linear_layer(module, self.num_hidden_layers, width, h))
    }

    fn layer_name(&self, layer: i64) -> String {
        format!("{}.encoder.layer.{layer}", self.family.prefix)
    }

    /// The linear layers of the transformer's layers, in the order of the forward pass.
    #[must_use]
    pub fn transformer_layers(&self) -> Vec<LinearLayer> {
        let spec = self.layer_spec();
        (0..self.num_hidden_layers)
            .flat_map(|layer| spec.linear_layers(&self.layer_name(layer), layer))
            .collect()
    }

    /// Whether the base has a pooler.
    #[must_use]
    pub fn has_pooler(&self) -> bool {
        self.family.head == HeadKind::Pooled
    }

    /// The pooler, where the family has one below its head.
    fn pooler(&self) -> Option<LinearLayer> {
        let (layer, h) = (self.num_hidden_layers, self.hidden_size);
        let pooler = || linear_layer(self.head().dense, layer, h, h);
        self.has_pooler().then(pooler)
    }

    /// All linear layers that can have an adapter.
    #[must_use]
    pub fn adaptable_layers(&self) -> Vec<LinearLayer> {
        self.projection()
            .into_iter()
            .chain(self.transformer_layers())
            .chain(self.pooler())
            .collect()
    }

    /// The tensors below the head, BERT's pooler among them, which a checkpoint may lack.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let prefix = self.family.prefix;
        let mut tensors = self.embeddings().to_vec();
        let norm = format!("{prefix}.embeddings.LayerNorm");
        tensors.extend(norm_tensors(&norm, self.embedding_width(), true));
        let projection = self.projection();
        tensors.extend(projection.iter().flat_map(|layer| layer.tensors(true)));
        let layers = self.transformer_layers();
        tensors.extend(layers.iter().flat_map(|layer| layer.tensors(true)));
        let spec = self.layer_spec();
        let layers = 0..self.num_hidden_layers;
        tensors.extend(layers.flat_map(|layer| spec.norms(&self.layer_name(layer))));
        tensors.extend(self.head().in_base());
        tensors
    }

    fn embeddings(&self) -> [TensorSpec; 3] {
        let padded = |pads: bool| match self.pad_token_id {
            Some(pad) if pads => StartValues::NormalButRow(pad),
            _ => StartValues::Normal,
        };
        let table = |name, rows, start| {
            let name = format!("{}.embeddings.{name}_embeddings.weight", self.family.prefix);
            TensorSpec::new(name, vec![rows, self.embedding_width()], start)
        };
        let positions = self.max_position_embeddings;
        [
            table("word", self.vocab_size, padded(true)),
            table(
                "position",
                positions,
                padded(self.family.positions_after_padding),
            ),
            table("token_type", self.type_vocab_size, StartValues::Normal),
        ]
    }

    /// The classification head.
    #[must_use]
    pub fn head(&self) -> HeadSpec {
        let (h, dropout) = (self.hidden_size, self.head_dropout());
        match self.family.head {
            HeadKind::TwoLayers => HeadSpec {
                input_dropout: dropout,
                activation: self.family.head_activation,
                output_dropout: dropout,
                ..HeadSpec::of_first_token(h, "classifier.dense".to_owned(), "classifier.out_proj")
            },
            HeadKind::Pooled => HeadSpec {
                dense_in_base: true,
                output_dropout: dropout,
                ..HeadSpec::of_first_token(
                    h,
                    format!("{}.pooler.dense", self.family.prefix),
                    "classifier",
                )
            },
        }
    }

    /// What it computes below its head, of the tensors that `root` shows.
    pub(crate) fn body(&self, root: &View<'_>) -> Result<PostNormBody, ModelError> {
        let base = root.pp(self.family.prefix);
        let view = base.pp("embeddings");
        let width = self.embedding_width();
        let table = |name, rows| Embedding::new(&view.pp(name), rows, width);
        let words = table("word_embeddings", self.vocab_size)?;
        let positions = table("position_embeddings", self.max_position_embeddings)?;
        let types = table("token_type_embeddings", self.type_vocab_size)?;
        let spec = self.layer_spec();
        let layer = |layer| PostNormLayer::new(&root.pp(self.layer_name(layer)), &spec);
        let project = self.projection().map(|it| {
            let spec = LinearSpec::new(it.d_in, it.d_out);
            Linear::new(&root.pp(it.module), &spec)
        });
        Ok(PostNormBody {
            embeddings: EmbeddingSum {
                words,
                types: Some(TypeTable {
                    table: types,
                    ignored: self.types_read().is_none(),
                }),
                positions: Some((positions, self.family.position_numbers(self.pad()))),
            },
            norm: LayerNorm::new(&view.pp("LayerNorm"), width, self.layer_norm_eps)?,
            dropout: self.hidden_dropout_prob,
            project: project.transpose()?,
            layers: (0..self.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, _>>()?,
        })
    }
}
