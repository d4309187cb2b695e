//! DeBERTa: He et al., *DeBERTa: Decoding-enhanced BERT with Disentangled Attention*, 2021; its second
//! version, and its third (He et al., *DeBERTaV3: Improving DeBERTa using ELECTRA-Style Pre-Training
//! with Gradient-Disentangled Embedding Sharing*, 2023), which has the second's architecture.
//!
//! | file | holds |
//! |---|---|
//! | here | the sizes, and the tensors and layers that follow from them |
//! | `attention` | attention by content and by relative position |
//! | `positions` | relative positions, and their embeddings |
//! | `body` | embeddings, layers, and the convolution beside the first |

pub(crate) mod attention;
pub(crate) mod body;
pub(crate) mod positions;

use serde::Serialize;

use crate::model::activation::Activation;
use crate::model::encoder::head::{HeadSpec, norm_tensors};
use crate::model::encoder::layer_spec::{LayerModules, LayerSpec, linear_layer};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// The versions, by what their layers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebertaVersion {
    /// `deberta`: queries, keys and values by one layer.
    One,
    /// `deberta-v2`: by a layer each; positions in buckets.
    Two,
}

/// What `config.json` says of the architecture, in the words of its keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DebertaConfig {
    /// The version.
    #[serde(skip)]
    pub version: DebertaVersion,
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the embeddings.
    pub embedding_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Width between the two feed-forward layers.
    pub intermediate_size: i64,
    /// The activation between them.
    pub hidden_act: Activation,
    /// Dropout on embeddings, on relative positions and on each sub-layer's output.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// The longest text; rows of the position embedding, if there is one.
    pub max_position_embeddings: i64,
    /// Rows of the token type embedding; 0: there is none.
    pub type_vocab_size: i64,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of weights that are drawn.
    pub initializer_range: f64,
    /// The padding token.
    pub pad_token_id: Option<i64>,
    /// Whether attention looks at relative positions.
    pub relative_attention: bool,
    /// How far apart positions are told apart.
    pub max_relative_positions: i64,
    /// Buckets of relative positions in each direction; `None`: each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_buckets: Option<i64>,
    /// Whether the embeddings of relative positions are normalised.
    #[serde(serialize_with = "norm_of_positions")]
    pub norm_rel_ebd: bool,
    /// Whether relative positions have the projections of the content.
    pub share_att_key: bool,
    /// Which scores are added to those of content by content.
    pub pos_att_type: Vec<PositionScore>,
    /// Whether absolute positions are embedded.
    pub position_biased_input: bool,
    /// The convolution beside the first layer.
    #[serde(flatten)]
    pub conv: Option<ConvSpec>,
    /// Dropout before the pooler.
    pub pooler_dropout: f64,
    /// The pooler's activation.
    pub pooler_hidden_act: Activation,
    /// Dropout behind it; `hidden_dropout_prob` when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cls_dropout: Option<f64>,
    /// The class of the tokenizer that goes with the model, where `config.json` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_class: Option<String>,
}

/// Scores by relative position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PositionScore {
    /// A query's content by a key's position.
    #[serde(rename = "c2p")]
    ContentToPosition,
    /// A query's position by a key's content.
    #[serde(rename = "p2c")]
    PositionToContent,
}

/// A convolution over the embeddings, whose output is added to the first layer's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConvSpec {
    /// Its width in tokens; odd.
    #[serde(rename = "conv_kernel_size")]
    pub kernel: i64,
    /// Groups of channels; divides `hidden_size`.
    #[serde(rename = "conv_groups")]
    pub groups: i64,
    /// The activation behind it.
    #[serde(rename = "conv_act")]
    pub activation: Activation,
}

fn norm_of_positions<S: serde::Serializer>(normed: &bool, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if *normed { "layer_norm" } else { "none" })
}

/// The names of the second version for what BERT has too.
static MODULES: LayerModules = LayerModules {
    query: "attention.self.query_proj",
    key: "attention.self.key_proj",
    value: "attention.self.value_proj",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    output_norm: "output.LayerNorm",
};

/// The first version's layer for queries, keys and values.
const IN_PROJ: &str = "attention.self.in_proj";

impl DebertaConfig {
    fn layer_spec(&self) -> LayerSpec {
        LayerSpec {
            modules: &MODULES,
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

    /// Whether scores of this kind are added.
    pub(crate) fn has(&self, score: PositionScore) -> bool {
        self.relative_attention && self.pos_att_type.contains(&score)
    }

    /// The most that two positions are told apart by.
    pub(crate) fn span(&self) -> i64 {
        self.position_buckets.unwrap_or(self.max_relative_positions)
    }

    /// The layers of relative positions, and whether they have biases: those by which keys of
    /// positions are computed, and queries of positions.
    fn position_layers(&self) -> Vec<(&'static str, bool)> {
        let (key, query) = match self.version {
            DebertaVersion::One => (("pos_proj", false), ("pos_q_proj", true)),
            DebertaVersion::Two if self.share_att_key => return Vec::new(),
            DebertaVersion::Two => (("pos_key_proj", true), ("pos_query_proj", true)),
        };
        let key = Some(key).filter(|_| self.has(PositionScore::ContentToPosition));
        let query = Some(query).filter(|_| self.has(PositionScore::PositionToContent));
        key.into_iter().chain(query).collect()
    }

    /// The linear layers of layer N, and whether they have biases.
    fn linear_layers_of(&self, layer: i64) -> Vec<(LinearLayer, bool)> {
        let (h, name) = (self.hidden_size, layer_name(layer));
        let [query, key, value, rest @ ..] = self.layer_spec().linear_layers(&name, layer);
        let mut layers = match self.version {
            DebertaVersion::One => {
                let module = format!("{name}.{IN_PROJ}");
                vec![(linear_layer(module, layer, h, 3 * h), false)]
            }
            DebertaVersion::Two => [query, key, value].map(|it| (it, true)).to_vec(),
        };
        for (end, bias) in self.position_layers() {
            let module = format!("{name}.attention.self.{end}");
            layers.push((linear_layer(module, layer, h, h), bias));
        }
        layers.extend(rest.map(|it| (it, true)));
        layers
    }

    /// The layer between embeddings and hidden states of different widths. It has no bias, and no
    /// number that a layer has.
    fn projection(&self) -> Option<LinearLayer> {
        let (width, h) = (self.embedding_size, self.hidden_size);
        let module = "deberta.embeddings.embed_proj".to_owned();
        (width != h).then(|| linear_layer(module, self.num_hidden_layers, width, h))
    }

    /// All linear layers, in the order of the forward pass, the pooler among them.
    #[must_use]
    pub fn adaptable_layers(&self) -> Vec<LinearLayer> {
        let (layer, h) = (self.num_hidden_layers, self.hidden_size);
        let pooler = linear_layer(self.head().dense, layer, h, h);
        let layers = (0..self.num_hidden_layers).flat_map(|layer| self.linear_layers_of(layer));
        let layers = layers.map(|(layer, _)| layer);
        self.projection()
            .into_iter()
            .chain(layers)
            .chain([pooler])
            .collect()
    }

    /// The tensors below the head, and the pooler, which a checkpoint may lack.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let h = self.hidden_size;
        let mut tensors = self.embedding_tables();
        tensors.extend(norm_tensors("deberta.embeddings.LayerNorm", h, true));
        let projection = self.projection();
        tensors.extend(projection.iter().flat_map(|layer| layer.tensors(false)));
        tensors.extend(self.encoder_tensors());
        let spec = self.layer_spec();
        for layer in 0..self.num_hidden_layers {
            for (layer, bias) in self.linear_layers_of(layer) {
                tensors.extend(layer.tensors(bias));
            }
            let name = layer_name(layer);
            if self.version == DebertaVersion::One {
                let bias = |it| format!("{name}.attention.self.{it}_bias");
                let zeros = |it| TensorSpec::new(bias(it), vec![h], StartValues::Zeros);
                tensors.extend(["q", "v"].map(zeros));
            }
            tensors.extend(spec.norms(&name));
        }
        tensors.extend(self.head().in_base());
        tensors
    }

    fn embedding_tables(&self) -> Vec<TensorSpec> {
        let words = match self.pad_token_id {
            Some(pad) => StartValues::NormalButRow(pad),
            None => StartValues::Normal,
        };
        let positions = match self.position_biased_input {
            true => self.max_position_embeddings,
            false => 0,
        };
        [
            ("word", self.vocab_size, words),
            ("position", positions, StartValues::Normal),
            ("token_type", self.type_vocab_size, StartValues::Normal),
        ]
        .into_iter()
        .filter(|(_, rows, _)| *rows > 0)
        .map(|(name, rows, start)| {
            let name = format!("deberta.embeddings.{name}_embeddings.weight");
            TensorSpec::new(name, vec![rows, self.embedding_size], start)
        })
        .collect()
    }

    /// What the layers share, and the convolution.
    fn encoder_tensors(&self) -> Vec<TensorSpec> {
        let (h, mut tensors) = (self.hidden_size, Vec::new());
        if self.relative_attention {
            let name = "deberta.encoder.rel_embeddings.weight".to_owned();
            let shape = vec![2 * self.span(), h];
            tensors.push(TensorSpec::new(name, shape, StartValues::Normal));
            if self.norm_rel_ebd {
                tensors.extend(norm_tensors("deberta.encoder.LayerNorm", h, true));
            }
        }
        if let Some(conv) = &self.conv {
            let name = |end: &str| format!("deberta.encoder.conv.conv.{end}");
            let shape = vec![h, h / conv.groups, conv.kernel];
            let weight = TensorSpec::new(name("weight"), shape, StartValues::Normal);
            let bias = TensorSpec::new(name("bias"), vec![h], StartValues::Zeros);
            tensors.extend([weight, bias]);
            tensors.extend(norm_tensors("deberta.encoder.conv.LayerNorm", h, true));
        }
        tensors
    }

    /// The head: `classifier(dropout(activation(pooler(dropout(h₀)))))`.
    #[must_use]
    pub fn head(&self) -> HeadSpec {
        HeadSpec {
            input_dropout: self.pooler_dropout,
            dense_in_base: true,
            activation: self.pooler_hidden_act,
            output_dropout: self.cls_dropout.unwrap_or(self.hidden_dropout_prob),
            ..HeadSpec::of_first_token(self.hidden_size, "pooler.dense".to_owned(), "classifier")
        }
    }
}

fn layer_name(layer: i64) -> String {
    format!("deberta.encoder.layer.{layer}")
}
