//! The configuration of a rotary decoder: its sizes, and the tensors and layers that follow from them.

use crate::model::activation::Activation;
use crate::model::decoder::attention::Scoring;
use crate::model::decoder::rope::Rope;
use crate::model::decoder::rotary::family::RotaryFamily;
use crate::model::layers::NormScale;
use crate::model::layers::soft_cap::SoftCap;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// What `config.json` says of a rotary decoder, in the words of its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryConfig {
    /// The family.
    pub family: &'static RotaryFamily,
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Query heads per layer.
    pub num_attention_heads: i64,
    /// Key and value heads per layer; divides the query heads.
    pub num_key_value_heads: i64,
    /// Width of a head; even.
    pub head_dim: i64,
    /// Width inside the feed-forward.
    pub intermediate_size: i64,
    /// The activation of its gate.
    pub hidden_act: Activation,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// The longest text.
    pub max_position_embeddings: i64,
    /// How positions turn queries and keys.
    pub rope: Rope,
    /// Whether the output is the table of token embeddings.
    pub tie_word_embeddings: bool,
    /// Whether all of attention's layers have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward's layers have biases.
    pub mlp_bias: bool,
    /// Tokens that a layer with a window sees, its own among them; `None`: no layer has a window.
    pub sliding_window: Option<i64>,
    /// What each layer sees.
    pub layer_types: Vec<LayerType>,
    /// Scores are products of queries and keys, divided by the root of this; `None`: of `head_dim`.
    pub query_pre_attn_scalar: Option<f64>,
    /// The cap of scores.
    pub attn_logit_softcapping: Option<SoftCap>,
    /// The cap of the logits.
    pub final_logit_softcapping: Option<SoftCap>,
    /// Dropout on attention probabilities.
    pub attention_dropout: f64,
    /// Standard deviation of weights that are drawn.
    pub initializer_range: f64,
    /// The token that pads a batch, if one is named.
    pub pad_token_id: Option<i64>,
    /// The tokens that end a text.
    pub eos_token_id: Vec<i64>,
}

/// What a layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// All of the text up to a token.
    Full,
    /// What is in the window before it.
    Sliding,
}

impl LayerType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Full, Self::Sliding];

    /// Its name in `layer_types`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full_attention",
            Self::Sliding => "sliding_attention",
        }
    }
}

impl RotaryConfig {
    /// Widths of hidden states, of all queries, of all keys, and inside the feed-forward.
    pub(crate) fn widths(&self) -> (i64, i64, i64, i64) {
        (
            self.hidden_size,
            self.num_attention_heads * self.head_dim,
            self.num_key_value_heads * self.head_dim,
            self.intermediate_size,
        )
    }

    /// The linear layers but for the output, in the order of the forward pass.
    #[must_use]
    pub fn layers(&self) -> Vec<LinearLayer> {
        let (h, query, key, wide) = self.widths();
        let modules = [
            ("self_attn.q_proj", h, query),
            ("self_attn.k_proj", h, key),
            ("self_attn.v_proj", h, key),
            ("self_attn.o_proj", query, h),
            ("mlp.gate_proj", h, wide),
            ("mlp.up_proj", h, wide),
            ("mlp.down_proj", wide, h),
        ];
        let of_layer = |layer| {
            modules.map(|(name, d_in, d_out)| LinearLayer {
                module: format!("model.layers.{layer}.{name}"),
                layer,
                d_in,
                d_out,
                layout: WeightLayout::OutIn,
            })
        };
        (0..self.num_hidden_layers).flat_map(of_layer).collect()
    }

    /// Whether a module of a layer, `self_attn.q_proj`, has a bias.
    pub(crate) fn has_bias(&self, module: &str) -> bool {
        match module {
            "self_attn.o_proj" => self.attention_bias,
            module if module.starts_with("self_attn.") => {
                self.attention_bias || self.family.query_key_value_biases
            }
            _ => self.mlp_bias,
        }
    }

    /// All tensors.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let h = self.hidden_size;
        let table = |name: &str, start| {
            TensorSpec::new(format!("{name}.weight"), vec![self.vocab_size, h], start)
        };
        let embeddings = self
            .pad_token_id
            .map_or(StartValues::Normal, StartValues::NormalButRow);
        let mut tensors = vec![table("model.embed_tokens", embeddings)];
        for layer in self.layers() {
            let start = format!("model.layers.{}.", layer.layer);
            let module = layer.module.strip_prefix(&start).unwrap_or(&layer.module);
            tensors.extend(layer.tensors(self.has_bias(module)));
        }
        for layer in 0..self.num_hidden_layers {
            let name = |name: &str| format!("model.layers.{layer}.{name}");
            let norms = self.family.norms.names();
            tensors.extend(norms.map(|norm| self.norm(name(norm), h)));
            if self.family.query_key_norms {
                let own = ["self_attn.q_norm", "self_attn.k_norm"];
                tensors.extend(own.map(|norm| self.norm(name(norm), self.head_dim)));
            }
        }
        tensors.push(self.norm("model.norm".to_owned(), h));
        if !self.tie_word_embeddings {
            tensors.push(table("lm_head", StartValues::Normal));
        }
        tensors
    }

    /// The tensor of a norm.
    fn norm(&self, name: String, width: i64) -> TensorSpec {
        let start = match self.family.norm_scale {
            NormScale::Weight => StartValues::Ones,
            NormScale::OneAndWeight => StartValues::Zeros,
        };
        TensorSpec::new(format!("{name}.weight"), vec![width], start)
    }

    /// How a layer scores keys.
    pub(crate) fn scoring(&self, layer: i64) -> Scoring {
        let kind = usize::try_from(layer).ok();
        let kind = kind.and_then(|layer| self.layer_types.get(layer));
        Scoring {
            scale: self.query_pre_attn_scalar.map(|it| it.sqrt().recip()),
            softcap: self.attn_logit_softcapping,
            window: match kind {
                Some(LayerType::Sliding) => self.sliding_window,
                Some(LayerType::Full) | None => None,
            },
        }
    }
}
