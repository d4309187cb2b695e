//! DistilBERT: Sanh et al., *DistilBERT, a distilled version of BERT: smaller, faster, cheaper and
//! lighter*, 2019. A BERT of half the layers, without token types and pooler.

use serde::Serialize;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::encoder::embeddings::{EmbeddingSum, PositionNumbers};
use crate::model::encoder::head::{HeadSpec, norm_tensors};
use crate::model::encoder::layer::PostNormLayer;
use crate::model::encoder::layer_spec::{LayerModules, LayerSpec};
use crate::model::encoder::post_norm::PostNormBody;
use crate::model::layers::{Embedding, LayerNorm};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::{StartValues, TensorSpec};
use crate::model::weights::View;

/// What `config.json` says of the architecture, in the words of its keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DistilBertConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Rows of the position embedding.
    pub max_position_embeddings: i64,
    /// Whether positions are [`StartValues::Sinusoids`] before any training.
    pub sinusoidal_pos_embds: bool,
    /// Layers.
    pub n_layers: i64,
    /// Attention heads per layer; divides `dim`.
    pub n_heads: i64,
    /// Width of the hidden states.
    pub dim: i64,
    /// Width between the two feed-forward layers.
    pub hidden_dim: i64,
    /// Dropout on embeddings and on the feed-forward's output.
    pub dropout: f64,
    /// Dropout on attention probabilities.
    pub attention_dropout: f64,
    /// The activation between the two feed-forward layers.
    pub activation: Activation,
    /// Standard deviation of a fresh head's weights.
    pub initializer_range: f64,
    /// Dropout in the head.
    pub seq_classif_dropout: f64,
    /// The padding token.
    pub pad_token_id: Option<i64>,
    /// The class of the tokenizer that goes with the model, where `config.json` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_class: Option<String>,
}

/// Its names for what BERT has too.
static MODULES: LayerModules = LayerModules {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    widen: "ffn.lin1",
    narrow: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// Added to the variance in every norm; no key says it.
const EPS: f64 = 1e-12;

impl DistilBertConfig {
    fn layer_spec(&self) -> LayerSpec {
        LayerSpec {
            modules: &MODULES,
            width: self.dim,
            wide: self.hidden_dim,
            heads: self.n_heads,
            activation: self.activation,
            eps: EPS,
            probs_dropout: self.attention_dropout,
            attention_dropout: 0.0,
            output_dropout: self.dropout,
        }
    }

    /// The linear layers, in the order of the forward pass.
    #[must_use]
    pub fn linear_layers_below_head(&self) -> Vec<LinearLayer> {
        let spec = self.layer_spec();
        (0..self.n_layers)
            .flat_map(|layer| spec.linear_layers(&layer_name(layer), layer))
            .collect()
    }

    /// The tensors below the head.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let words = match self.pad_token_id {
            Some(pad) => StartValues::NormalButRow(pad),
            None => StartValues::Normal,
        };
        let positions = match self.sinusoidal_pos_embds {
            true => StartValues::Sinusoids,
            false => StartValues::Normal,
        };
        let table = |name: &str, rows, start| {
            let name = format!("distilbert.embeddings.{name}_embeddings.weight");
            TensorSpec::new(name, vec![rows, self.dim], start)
        };
        let mut tensors = vec![
            table("word", self.vocab_size, words),
            table("position", self.max_position_embeddings, positions),
        ];
        tensors.extend(norm_tensors(
            "distilbert.embeddings.LayerNorm",
            self.dim,
            true,
        ));
        let linear = self.linear_layers_below_head();
        tensors.extend(linear.iter().flat_map(|layer| layer.tensors(true)));
        let spec = self.layer_spec();
        tensors.extend((0..self.n_layers).flat_map(|layer| spec.norms(&layer_name(layer))));
        tensors
    }

    /// The head: `classifier(dropout(relu(pre_classifier(h₀))))`.
    #[must_use]
    pub fn head(&self) -> HeadSpec {
        HeadSpec {
            activation: Activation::Relu,
            output_dropout: self.seq_classif_dropout,
            ..HeadSpec::of_first_token(self.dim, "pre_classifier".to_owned(), "classifier")
        }
    }

    /// What it computes below its head, of the tensors that `root` shows.
    pub(crate) fn body(&self, root: &View<'_>) -> Result<PostNormBody, ModelError> {
        let view = root.pp("distilbert").pp("embeddings");
        let table = |name, rows| Embedding::new(&view.pp(name), rows, self.dim);
        let positions = table("position_embeddings", self.max_position_embeddings)?;
        let spec = self.layer_spec();
        let layer = |layer| PostNormLayer::new(&root.pp(layer_name(layer)), &spec);
        Ok(PostNormBody {
            embeddings: EmbeddingSum {
                words: table("word_embeddings", self.vocab_size)?,
                types: None,
                positions: Some((positions, PositionNumbers::FromZero)),
            },
            norm: LayerNorm::new(&view.pp("LayerNorm"), self.dim, EPS)?,
            dropout: self.dropout,
            project: None,
            layers: (0..self.n_layers).map(layer).collect::<Result<_, _>>()?,
        })
    }
}

fn layer_name(layer: i64) -> String {
    format!("distilbert.transformer.layer.{layer}")
}
