//! A layer of a rotary decoder: attention and a gated feed-forward, each added to what it takes.

use tch::Tensor;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::decoder::DecoderBlock;
use crate::model::decoder::attention::{CausalAttention, Scoring, split};
use crate::model::decoder::pass::Pass;
use crate::model::decoder::rope::rotate;
use crate::model::decoder::rotary::config::RotaryConfig;
use crate::model::dropout::Masks;
use crate::model::layers::RmsNorm;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::query_key_value::QueryKeyValue;
use crate::model::weights::View;

/// A layer.
pub(crate) struct RotaryBlock {
    attention_norm: RmsNorm,
    attention: RotaryAttention,
    after_attention: Option<RmsNorm>,
    feed_forward_norm: RmsNorm,
    feed_forward: GatedFeedForward,
    after_feed_forward: Option<RmsNorm>,
}

impl RotaryBlock {
    pub fn new(view: &View<'_>, config: &RotaryConfig, layer: i64) -> Result<Self, ModelError> {
        let norms = config.family.norms;
        let norm = |name: &str| norm(&view.pp(name), config, config.hidden_size);
        Ok(Self {
            attention_norm: norm(norms.attention)?,
            attention: RotaryAttention::new(view, config, layer)?,
            after_attention: norms.after_attention.map(norm).transpose()?,
            feed_forward_norm: norm(norms.feed_forward)?,
            feed_forward: GatedFeedForward::new(view, config)?,
            after_feed_forward: norms.after_feed_forward.map(norm).transpose()?,
        })
    }
}

impl DecoderBlock for RotaryBlock {
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError> {
        let normed = self.attention_norm.forward(x)?;
        let y = self.attention.forward(layer, &normed, pass)?;
        let x = x.f_add(&normed_by(self.after_attention.as_ref(), y)?)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let y = self.feed_forward.forward(&normed, pass.masks)?;
        Ok(x.f_add(&normed_by(self.after_feed_forward.as_ref(), y)?)?)
    }
}

fn normed_by(norm: Option<&RmsNorm>, x: Tensor) -> Result<Tensor, ModelError> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

fn norm(view: &View<'_>, config: &RotaryConfig, width: i64) -> Result<RmsNorm, ModelError> {
    let (eps, scale) = (config.rms_norm_eps, config.family.norm_scale);
    RmsNorm::scaled(view, width, eps, scale)
}

/// A module of the layer at `view`, `self_attn.q_proj`.
fn linear(
    view: &View<'_>,
    config: &RotaryConfig,
    module: &str,
    d_in: i64,
    d_out: i64,
) -> Result<Linear, ModelError> {
    Linear::new(&view.pp(module), &linear_spec(config, module, d_in, d_out))
}

fn linear_spec(config: &RotaryConfig, module: &str, d_in: i64, d_out: i64) -> LinearSpec {
    LinearSpec {
        bias: config.has_bias(module),
        ..LinearSpec::new(d_in, d_out)
    }
}

/// Attention whose queries and keys are rotated by their positions.
struct RotaryAttention {
    inputs: QueryKeyValue,
    output: Linear,
    /// Of queries and of keys, a head at a time.
    norms: Option<(RmsNorm, RmsNorm)>,
    heads: i64,
    key_heads: i64,
    scoring: Scoring,
    dropout: f64,
}

impl RotaryAttention {
    fn new(view: &View<'_>, config: &RotaryConfig, layer: i64) -> Result<Self, ModelError> {
        let (h, query, key, _) = config.widths();
        let inputs = [("q_proj", query), ("k_proj", key), ("v_proj", key)].map(|(name, d_out)| {
            let module = format!("self_attn.{name}");
            (name, linear_spec(config, &module, h, d_out))
        });
        let norm = |name: &str| norm(&view.pp("self_attn").pp(name), config, config.head_dim);
        let norms = match config.family.query_key_norms {
            true => Some((norm("q_norm")?, norm("k_norm")?)),
            false => None,
        };
        Ok(Self {
            inputs: QueryKeyValue::new(&view.pp("self_attn"), inputs)?,
            output: linear(view, config, "self_attn.o_proj", query, h)?,
            norms,
            heads: config.num_attention_heads,
            key_heads: config.num_key_value_heads,
            scoring: config.scoring(layer),
            dropout: config.attention_dropout,
        })
    }

    /// Of the normed hidden states, (rows, tokens, hidden).
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError> {
        let masks = pass.masks;
        let ([query, key, value], _) = self.inputs.forward(x, masks)?;
        let mut query = split(&query, self.heads)?;
        let mut key = split(&key, self.key_heads)?;
        let value = split(&value, self.key_heads)?;
        if let Some((of_queries, of_keys)) = &self.norms {
            query = of_queries.forward(&query)?;
            key = of_keys.forward(&key)?;
        }
        if let Some((cos, sin)) = pass.rotary {
            query = rotate(&query, cos, sin)?;
            key = rotate(&key, cos, sin)?;
        }
        let attention = CausalAttention {
            query: &query,
            key: &key,
            value: &value,
            scoring: self.scoring,
        };
        let attended = pass.attend(layer, &attention, self.dropout)?;
        self.output.forward(&attended, masks)
    }
}

/// `down(activation(gate(x)) · up(x))`: Shazeer, *GLU Variants Improve Transformer*, 2020.
struct GatedFeedForward {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl GatedFeedForward {
    fn new(view: &View<'_>, config: &RotaryConfig) -> Result<Self, ModelError> {
        let (h, _, _, wide) = config.widths();
        Ok(Self {
            gate: linear(view, config, "mlp.gate_proj", h, wide)?,
            up: linear(view, config, "mlp.up_proj", h, wide)?,
            down: linear(view, config, "mlp.down_proj", wide, h)?,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let [gate, up] = match Linear::forward_together([&self.gate, &self.up], x, masks)? {
            Some((both, _)) => both,
            None => [self.gate.forward(x, masks)?, self.up.forward(x, masks)?],
        };
        let wide = self.activation.gating(&gate, &up)?;
        self.down.forward(&wide, masks)
    }
}
