//! Llama: Touvron et al., *LLaMA: Open and Efficient Foundation Language Models*, 2023; grouped
//! heads: Ainslie et al., *GQA*, 2023.

use tch::Tensor;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::decoder::attention::{CausalAttention, split};
use crate::model::decoder::rope::{Rope, rotate};
use crate::model::decoder::{Decoder, DecoderBlock, Pass};
use crate::model::layers::{Embedding, Linear, LinearSpec, Norm, RmsNorm};
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::recompute::Recompute;
use crate::model::tensor_spec::{StartValues, TensorSpec};
use crate::model::weights::View;

/// What `config.json` says of a Llama, in the words of its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
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
    /// Whether attention's layers have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward's layers have biases.
    pub mlp_bias: bool,
    /// Dropout on attention probabilities.
    pub attention_dropout: f64,
    /// Standard deviation of weights that are drawn.
    pub initializer_range: f64,
    /// The token that pads a batch, if one is named.
    pub pad_token_id: Option<i64>,
    /// The tokens that end a text.
    pub eos_token_id: Vec<i64>,
}

impl LlamaConfig {
    fn widths(&self) -> (i64, i64, i64, i64) {
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

    fn has_bias(&self, layer: &LinearLayer) -> bool {
        match layer.module.contains(".self_attn.") {
            true => self.attention_bias,
            false => self.mlp_bias,
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
        let norm =
            |name: String| TensorSpec::new(format!("{name}.weight"), vec![h], StartValues::Ones);
        let mut tensors = vec![table("model.embed_tokens", embeddings)];
        let layers = self.layers();
        let linear = layers.iter().flat_map(|it| it.tensors(self.has_bias(it)));
        tensors.extend(linear);
        for layer in 0..self.num_hidden_layers {
            for name in ["input_layernorm", "post_attention_layernorm"] {
                tensors.push(norm(format!("model.layers.{layer}.{name}")));
            }
        }
        tensors.push(norm("model.norm".to_owned()));
        if !self.tie_word_embeddings {
            tensors.push(table("lm_head", StartValues::Normal));
        }
        tensors
    }

    /// The model whose tensors `root` shows, without its output.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn decoder(&self, root: &View<'_>) -> Result<Decoder, ModelError> {
        let (h, eps) = (self.hidden_size, self.rms_norm_eps);
        let view = root.pp("model");
        let block = |layer| -> Result<Box<dyn DecoderBlock>, ModelError> {
            Ok(Box::new(LlamaBlock::new(
                &view.pp("layers").pp(layer),
                self,
            )?))
        };
        let layers = 0..self.num_hidden_layers;
        Ok(Decoder {
            tokens: Embedding::new(&view.pp("embed_tokens"), self.vocab_size, h)?,
            positions: None,
            embedding_dropout: 0.0,
            rope: Some(self.rope.clone()),
            blocks: layers.map(block).collect::<Result<_, _>>()?,
            norm: Norm::Rms(RmsNorm::new(&view.pp("norm"), h, eps)?),
            recompute: Recompute::default(),
        })
    }
}

struct LlamaBlock {
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    feed_forward_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
    heads: i64,
    key_heads: i64,
    attention_dropout: f64,
}

impl LlamaBlock {
    fn new(view: &View<'_>, config: &LlamaConfig) -> Result<Self, ModelError> {
        let (h, query, key, wide) = config.widths();
        let eps = config.rms_norm_eps;
        let linear = |part: &str, name: &str, d_in, d_out, bias| {
            let spec = LinearSpec {
                bias,
                ..LinearSpec::new(d_in, d_out, false)
            };
            Linear::new(&view.pp(part).pp(name), &spec)
        };
        let attention =
            |name, d_in, d_out| linear("self_attn", name, d_in, d_out, config.attention_bias);
        let mlp = |name, d_in, d_out| linear("mlp", name, d_in, d_out, config.mlp_bias);
        Ok(Self {
            attention_norm: RmsNorm::new(&view.pp("input_layernorm"), h, eps)?,
            query: attention("q_proj", h, query)?,
            key: attention("k_proj", h, key)?,
            value: attention("v_proj", h, key)?,
            output: attention("o_proj", query, h)?,
            feed_forward_norm: RmsNorm::new(&view.pp("post_attention_layernorm"), h, eps)?,
            gate: mlp("gate_proj", h, wide)?,
            up: mlp("up_proj", h, wide)?,
            down: mlp("down_proj", wide, h)?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            key_heads: config.num_key_value_heads,
            attention_dropout: config.attention_dropout,
        })
    }
}

impl DecoderBlock for LlamaBlock {
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError> {
        let masks = pass.masks;
        let normed = self.attention_norm.forward(x)?;
        let mut query = split(&self.query.forward(&normed, masks)?, self.heads)?;
        let mut key = split(&self.key.forward(&normed, masks)?, self.key_heads)?;
        let value = split(&self.value.forward(&normed, masks)?, self.key_heads)?;
        if let Some((cos, sin)) = pass.rotary {
            query = rotate(&query, cos, sin)?;
            key = rotate(&key, cos, sin)?;
        }
        let attention = CausalAttention {
            query: &query,
            key: &key,
            value: &value,
        };
        let attended = pass.attend(layer, &attention, self.attention_dropout)?;
        let x = x.f_add(&self.output.forward(&attended, masks)?)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let gate = self
            .activation
            .forward(&self.gate.forward(&normed, masks)?)?;
        let wide = gate.f_mul(&self.up.forward(&normed, masks)?)?;
        Ok(x.f_add(&self.down.forward(&wide, masks)?)?)
    }
}
