//! What DeBERTa computes below its head.

use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::dropout::{Masks, dropout};
use crate::model::encoder::EncoderBody;
use crate::model::encoder::deberta::attention::{DebertaShared, DisentangledAttention};
use crate::model::encoder::deberta::positions::{PositionTable, RelativePositions};
use crate::model::encoder::deberta::{ConvSpec, DebertaConfig, layer_name};
use crate::model::encoder::embeddings::{EmbeddingSum, PositionNumbers, TypeTable};
use crate::model::encoder::layer::FeedForward;
use crate::model::encoder::pass::{LayerPass, first_tokens};
use crate::model::inputs::Inputs;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::{Embedding, LayerNorm};
use crate::model::weights::View;

/// Embeddings and layers.
pub(crate) struct DebertaBody {
    embeddings: EmbeddingSum,
    project: Option<Linear>,
    norm: LayerNorm,
    dropout: f64,
    positions: Option<RelativePositions>,
    layers: Vec<(DisentangledAttention, FeedForward)>,
    conv: Option<Convolution>,
}

impl DebertaConfig {
    /// What it computes below its head, of the tensors that `root` shows.
    pub(crate) fn body(&self, root: &View<'_>) -> Result<DebertaBody, ModelError> {
        let h = self.hidden_size;
        let encoder = root.pp("deberta").pp("encoder");
        let norm = |view: &View<'_>| LayerNorm::new(&view.pp("LayerNorm"), h, self.layer_norm_eps);
        let table = self.relative_attention.then(|| {
            Ok::<_, ModelError>(Rc::new(PositionTable {
                table: encoder.get("rel_embeddings.weight", &[2 * self.span(), h])?,
                norm: self.norm_rel_ebd.then(|| norm(&encoder)).transpose()?,
            }))
        });
        let table = table.transpose()?;
        let spec = self.layer_spec();
        let layer = |layer| {
            let view = root.pp(layer_name(layer));
            let attention = DisentangledAttention::new(&view, self, table.as_ref())?;
            Ok((attention, FeedForward::new(&view, &spec)?))
        };
        let conv = self.conv.as_ref();
        let conv = conv.map(|conv| Convolution::new(&encoder.pp("conv"), conv, self));
        let view = root.pp("deberta").pp("embeddings");
        let project = self.projection().map(|it| {
            let spec = LinearSpec::new(it.d_in, it.d_out);
            Linear::new(
                &root.pp(it.module),
                &LinearSpec {
                    bias: false,
                    ..spec
                },
            )
        });
        Ok(DebertaBody {
            embeddings: self.embeddings(&view)?,
            project: project.transpose()?,
            norm: norm(&view)?,
            dropout: self.hidden_dropout_prob,
            positions: self.relative_attention.then(|| RelativePositions {
                span: self.span(),
                buckets: self.position_buckets,
                furthest: self.max_relative_positions,
            }),
            layers: (0..self.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, ModelError>>()?,
            conv: conv.transpose()?,
        })
    }

    fn embeddings(&self, view: &View<'_>) -> Result<EmbeddingSum, ModelError> {
        let table = |name: &str, rows| {
            let view = view.pp(format!("{name}_embeddings"));
            Embedding::new(&view, rows, self.embedding_size)
        };
        let types = (self.type_vocab_size > 0).then(|| table("token_type", self.type_vocab_size));
        let types = types.transpose()?.map(|table| TypeTable {
            table,
            ignored: false,
        });
        let positions = self.position_biased_input;
        let positions = positions.then(|| table("position", self.max_position_embeddings));
        let positions = positions.transpose()?;
        Ok(EmbeddingSum {
            words: table("word", self.vocab_size)?,
            types,
            positions: positions.map(|table| (table, PositionNumbers::FromZero)),
        })
    }
}

impl EncoderBody for DebertaBody {
    type Shared = DebertaShared;

    fn embed(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let mut x = self.embeddings.forward(inputs)?;
        if let Some(project) = &self.project {
            x = project.forward(&x, masks)?;
        }
        x = self.norm.forward(&x)?;
        if let Some(real) = real(inputs, x.kind())? {
            x = x.f_mul(&real)?;
        }
        Ok(dropout(&x, self.dropout, masks)?)
    }

    fn shared(&self, inputs: &Inputs, x: &Tensor) -> Result<Self::Shared, ModelError> {
        let (tokens, device) = (inputs.ids.size()[1], inputs.ids.device());
        let needed = self
            .positions
            .map(|positions| positions.rows(tokens, device));
        Ok(DebertaShared {
            bias: inputs.attention_bias(x.kind())?,
            needed: needed.transpose()?,
            real: real(inputs, x.kind())?,
        })
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
        let (attention, feed_forward) = &self.layers[number];
        let attended = attention.forward(x, pass)?;
        let y = feed_forward.forward(&attended, pass.masks)?;
        match &self.conv {
            Some(conv) if number == 0 => pass.each_batch([x, &y], |[x, y], shared, masks| {
                conv.forward(&x, &y, pass.wanted, shared.real.as_ref(), masks)
            }),
            _ => Ok(y),
        }
    }
}

/// 1 at real tokens, 0 at padding, (rows, tokens, 1); `None`: no padding.
fn real(inputs: &Inputs, kind: Kind) -> Result<Option<Tensor>, ModelError> {
    let column = |mask: &Tensor| mask.f_unsqueeze(-1)?.f_to_kind(kind);
    Ok(inputs.mask.as_ref().map(column).transpose()?)
}

/// A convolution over what goes into the first layer, added to what comes out of it.
struct Convolution {
    weight: Tensor,
    bias: Tensor,
    norm: LayerNorm,
    spec: ConvSpec,
    dropout: f64,
}

impl Convolution {
    fn new(view: &View<'_>, spec: &ConvSpec, config: &DebertaConfig) -> Result<Self, ModelError> {
        let h = config.hidden_size;
        let conv = view.pp("conv");
        Ok(Self {
            weight: conv.get("weight", &[h, h / spec.groups, spec.kernel])?,
            bias: conv.get("bias", &[h])?,
            norm: LayerNorm::new(&view.pp("LayerNorm"), h, config.layer_norm_eps)?,
            spec: spec.clone(),
            dropout: config.hidden_dropout_prob,
        })
    }

    /// The layer's hidden states at the first `wanted` tokens, or at all: from its input `x`, and
    /// its output `y` there.
    fn forward(
        &self,
        x: &Tensor,
        y: &Tensor,
        wanted: Option<i64>,
        real: Option<&Tensor>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let reach = (self.spec.kernel - 1) / 2;
        let channels = x.f_transpose(1, 2)?;
        let bias = Some(&self.bias);
        let seen = channels.f_conv1d(&self.weight, bias, 1, reach, 1, self.spec.groups)?;
        let seen = first_tokens(&seen.f_transpose(1, 2)?, wanted)?;
        let real = real.map(|real| first_tokens(real, wanted)).transpose()?;
        let kept = |x: Tensor| match &real {
            Some(real) => x.f_mul(real),
            None => Ok(x),
        };
        let seen = dropout(&kept(seen)?, self.dropout, masks)?;
        let activation: Activation = self.spec.activation;
        let sum = y.f_add(&activation.forward(&seen)?)?;
        Ok(kept(self.norm.forward(&sum)?)?)
    }
}
