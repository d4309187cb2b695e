//! What ModernBERT computes below its head.

use tch::{Kind, Tensor};

use crate::base::torch::kernels::AttentionInputs;
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::decoder::rope::{Rope, RopeScaling, rotate};
use crate::model::dropout::{Masks, dropout, next_mask};
use crate::model::encoder::EncoderBody;
use crate::model::encoder::attention::{attend, join};
use crate::model::encoder::modernbert::{LayerAttention, ModernBertConfig};
use crate::model::encoder::pass::{LayerPass, first_tokens};
use crate::model::inputs::Inputs;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::{Embedding, LayerNorm};
use crate::model::weights::View;

/// Embeddings, layers, and the norm behind them.
pub(crate) struct ModernBertBody {
    words: Embedding,
    norm: LayerNorm,
    embedding_dropout: f64,
    layers: Vec<PreNormLayer>,
    final_norm: LayerNorm,
    /// Of global layers, and of local ones.
    ropes: [Rope; 2],
    /// How far a local layer sees to each side.
    reach: i64,
}

/// What global layers share, or local ones.
pub(crate) struct LayerShared {
    /// Cosines and sines of the positions, (tokens, head_dim).
    rotary: (Tensor, Tensor),
    /// What is added to attention's scores, (rows or 1, 1, tokens or 1, tokens).
    bias: Option<Tensor>,
}

impl ModernBertConfig {
    /// What it computes below its head, of the tensors that `root` shows.
    pub(crate) fn body(&self, root: &View<'_>) -> Result<ModernBertBody, ModelError> {
        let view = root.pp("model");
        let (h, embeddings) = (self.hidden_size, view.pp("embeddings"));
        let norm = |view: &View<'_>| LayerNorm::with_bias(view, h, self.norm_eps, self.norm_bias);
        let layer = |layer| PreNormLayer::new(&view.pp("layers").pp(layer), self, layer);
        let rope = |theta| Rope {
            theta,
            head_dim: h / self.num_attention_heads,
            scaling: RopeScaling::None,
        };
        Ok(ModernBertBody {
            words: Embedding::new(&embeddings.pp("tok_embeddings"), self.vocab_size, h)?,
            norm: norm(&embeddings.pp("norm"))?,
            embedding_dropout: self.embedding_dropout,
            layers: (0..self.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, _>>()?,
            final_norm: norm(&view.pp("final_norm"))?,
            ropes: [rope(self.global_rope_theta), rope(self.local_rope_theta)],
            reach: self.local_attention / 2,
        })
    }
}

impl EncoderBody for ModernBertBody {
    /// Of global layers, and of local ones.
    type Shared = [LayerShared; 2];

    fn embed(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let normed = self.norm.forward(&self.words.forward(&inputs.ids)?)?;
        Ok(dropout(&normed, self.embedding_dropout, masks)?)
    }

    fn shared(&self, inputs: &Inputs, x: &Tensor) -> Result<Self::Shared, ModelError> {
        let tokens = inputs.ids.size()[1];
        let global = inputs.attention_bias(x.kind())?;
        let local = within(self.reach, tokens, global.as_ref(), x)?;
        let [of_global, of_local] = &self.ropes;
        let device = inputs.ids.device();
        Ok([
            LayerShared {
                rotary: of_global.tables(tokens, device)?,
                bias: global,
            },
            LayerShared {
                rotary: of_local.tables(tokens, device)?,
                bias: local,
            },
        ])
    }

    fn num_layers(&self) -> usize {
        self.layers.len()
    }

    fn layer(
        &self,
        number: usize,
        x: &Tensor,
        pass: &LayerPass<'_, Self::Shared>,
    ) -> Result<Tensor, ModelError> {
        self.layers[number].forward(x, pass)
    }

    fn finish(&self, x: Tensor) -> Result<Tensor, ModelError> {
        self.final_norm.forward(&x)
    }
}

/// What is added to scores so that a token sees others as far as `reach` only; in `bias`, what is
/// added for padding.
fn within(
    reach: i64,
    tokens: i64,
    bias: Option<&Tensor>,
    x: &Tensor,
) -> Result<Option<Tensor>, ModelError> {
    if tokens <= reach + 1 {
        return Ok(bias.map(Tensor::shallow_clone));
    }
    let places = Tensor::f_arange(tokens, (Kind::Int64, x.device()))?;
    let distance = places.f_unsqueeze(0)?.f_sub(&places.f_unsqueeze(1)?)?;
    let beyond = distance.f_abs()?.f_gt(reach)?;
    let bias = match bias {
        Some(bias) => bias.shallow_clone(),
        None => Tensor::f_zeros([1, 1, 1, tokens], (x.kind(), x.device()))?,
    };
    let lowest = Inputs::lowest(x.kind());
    Ok(Some(bias.f_masked_fill(&beyond, lowest)?))
}

/// Attention and feed-forward, each with its norm before it.
struct PreNormLayer {
    /// The first layer has none: the embeddings are normalised.
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    attention_output: Linear,
    feed_forward_norm: LayerNorm,
    /// To the gate's two halves.
    widen: Linear,
    narrow: Linear,
    activation: Activation,
    heads: i64,
    attention_dropout: f64,
    feed_forward_dropout: f64,
    attends_to: LayerAttention,
}

impl PreNormLayer {
    fn new(view: &View<'_>, config: &ModernBertConfig, layer: i64) -> Result<Self, ModelError> {
        let (h, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |name, d_in, d_out, bias| {
            let spec = LinearSpec::new(d_in, d_out);
            Linear::new(&view.pp(name), &LinearSpec { bias, ..spec })
        };
        let norm =
            |name| LayerNorm::with_bias(&view.pp(name), h, config.norm_eps, config.norm_bias);
        Ok(Self {
            attention_norm: (layer > 0).then(|| norm("attn_norm")).transpose()?,
            qkv: linear("attn.Wqkv", h, 3 * h, config.attention_bias)?,
            attention_output: linear("attn.Wo", h, h, config.attention_bias)?,
            feed_forward_norm: norm("mlp_norm")?,
            widen: linear("mlp.Wi", h, 2 * wide, config.mlp_bias)?,
            narrow: linear("mlp.Wo", wide, h, config.mlp_bias)?,
            activation: config.hidden_activation,
            heads: config.num_attention_heads,
            attention_dropout: config.attention_dropout,
            feed_forward_dropout: config.mlp_dropout,
            attends_to: config.attention_of(layer),
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        pass: &LayerPass<'_, [LayerShared; 2]>,
    ) -> Result<Tensor, ModelError> {
        let masks = pass.masks;
        let attended = self.attend(x, pass)?;
        let x = pass.wanted_of(x)?.f_add(&attended)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let halves = self.widen.forward(&normed, masks)?.f_chunk(2, -1)?;
        let [input, gate] = halves.as_slice() else {
            return Err(ModelError::Refused("a gate has two halves".to_owned()));
        };
        let gated = self.activation.forward(input)?.f_mul(gate)?;
        let gated = dropout(&gated, self.feed_forward_dropout, masks)?;
        Ok(x.f_add(&self.narrow.forward(&gated, masks)?)?)
    }

    fn attend(
        &self,
        x: &Tensor,
        pass: &LayerPass<'_, [LayerShared; 2]>,
    ) -> Result<Tensor, ModelError> {
        let normed = match &self.attention_norm {
            Some(norm) => norm.forward(x)?,
            None => x.shallow_clone(),
        };
        let qkv = self.qkv.forward(&normed, pass.masks)?;
        let context = pass.each_batch([&qkv], |[qkv], [global, local], masks| {
            let shared = match self.attends_to {
                LayerAttention::Global => global,
                LayerAttention::Local => local,
            };
            self.context(&qkv, pass.wanted, shared, masks)
        })?;
        let y = self.attention_output.forward(&context, pass.masks)?;
        Ok(dropout(&y, self.attention_dropout, pass.masks)?)
    }

    /// The attended values, (rows, queries, hidden), of a batch's queries, keys and values,
    /// (rows, tokens, 3 hidden).
    fn context(
        &self,
        qkv: &Tensor,
        wanted: Option<i64>,
        shared: &LayerShared,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let (rows, tokens, width) = qkv.size3()?;
        let (heads, (cos, sin)) = (self.heads, &shared.rotary);
        let qkv = qkv.f_view([rows, tokens, 3, heads, width / 3 / heads])?;
        let part = |part| qkv.f_select(2, part)?.f_transpose(1, 2);
        let (query, key) = (rotate(&part(0)?, cos, sin)?, rotate(&part(1)?, cos, sin)?);
        let bias = shared.bias.as_ref().map(|bias| match wanted {
            Some(tokens) if bias.size()[2] > 1 => bias.f_narrow(2, 0, tokens),
            _ => Ok(bias.shallow_clone()),
        });
        let bias = bias.transpose()?;
        let attended = AttentionInputs {
            query: &first_tokens(&join(&query)?, wanted)?,
            key: &join(&key)?,
            value: &join(&part(2)?)?,
            bias: bias.as_ref(),
            heads,
            causal: false,
        };
        Ok(attend(attended, next_mask(self.attention_dropout, masks)?)?)
    }
}
