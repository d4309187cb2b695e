//! Attention by content and by relative position.

use std::rc::Rc;

use tch::{TchError, Tensor};

use crate::model::ModelError;
use crate::model::dropout::{Masks, dropout, next_mask};
use crate::model::encoder::attention::{AttentionOutput, probabilities, split, weighted_values};
use crate::model::encoder::deberta::positions::{NeededRows, PositionTable};
use crate::model::encoder::deberta::{DebertaConfig, DebertaVersion, IN_PROJ, PositionScore};
use crate::model::encoder::pass::LayerPass;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::query_key_value::QueryKeyValue;
use crate::model::weights::View;

/// What the layers of a pass share.
pub(crate) struct DebertaShared {
    /// See [`Inputs::attention_bias`](crate::model::inputs::Inputs::attention_bias).
    pub bias: Option<Tensor>,
    /// Where attention looks at relative positions.
    pub needed: Option<NeededRows>,
    /// 1 at real tokens, 0 at padding, (rows, tokens, 1); `None`: no padding.
    pub real: Option<Tensor>,
}

/// How queries, keys and values are computed of hidden states.
enum ContentLayers {
    /// By one layer, whose output has a head's three parts side by side; queries and values have
    /// biases.
    Fused {
        all: Linear,
        query_bias: Tensor,
        value_bias: Tensor,
    },
    /// By a layer each.
    Apart(Box<QueryKeyValue>),
}

/// Self-attention whose scores are of content by content, of content by relative position and of
/// relative position by content, with its output projection, residual and norm.
pub(crate) struct DisentangledAttention {
    content: ContentLayers,
    /// Gives relative positions keys; without it the content's layer does.
    position_key: Option<Linear>,
    /// Gives relative positions queries, likewise.
    position_query: Option<Linear>,
    scores_by_position: Vec<PositionScore>,
    positions: Option<Rc<PositionTable>>,
    output: AttentionOutput,
    heads: i64,
    /// The scores' divisor, with one share for each of their kinds.
    scale: f64,
    probs_dropout: f64,
    position_dropout: f64,
}

impl DisentangledAttention {
    pub fn new(
        view: &View<'_>,
        config: &DebertaConfig,
        positions: Option<&Rc<PositionTable>>,
    ) -> Result<Self, ModelError> {
        let (h, heads) = (config.hidden_size, config.num_attention_heads);
        let spec = config.layer_spec();
        let linear = |name: &str, d_out, bias| {
            let spec = LinearSpec::new(h, d_out);
            Linear::new(&view.pp(name), &LinearSpec { bias, ..spec })
        };
        let content = match config.version {
            DebertaVersion::One => ContentLayers::Fused {
                all: linear(IN_PROJ, 3 * h, false)?,
                query_bias: view.get("attention.self.q_bias", &[h])?,
                value_bias: view.get("attention.self.v_bias", &[h])?,
            },
            DebertaVersion::Two => ContentLayers::Apart(Box::new(spec.query_key_value(view)?)),
        };
        let (mut position_key, mut position_query) = (None, None);
        for (name, bias) in config.position_layers() {
            let layer = Some(linear(&format!("attention.self.{name}"), h, bias)?);
            match name {
                "pos_proj" | "pos_key_proj" => position_key = layer,
                _ => position_query = layer,
            }
        }
        let kinds = 1 + config.pos_att_type.len();
        Ok(Self {
            content,
            position_key,
            position_query,
            scores_by_position: config.pos_att_type.clone(),
            positions: positions.cloned(),
            output: AttentionOutput::new(view, &spec)?,
            heads,
            scale: (kinds as f64 * (h / heads) as f64).sqrt(),
            probs_dropout: config.attention_probs_dropout_prob,
            position_dropout: config.hidden_dropout_prob,
        })
    }

    /// The output at the tokens that are wanted.
    pub fn forward(
        &self,
        x: &Tensor,
        pass: &LayerPass<'_, DebertaShared>,
    ) -> Result<Tensor, ModelError> {
        let (mut queried, masks) = (pass.wanted_of(x)?, pass.masks);
        let context = match &self.content {
            ContentLayers::Apart(layers) => {
                let [query, key, value] = match pass.wanted {
                    None => {
                        let (made, x) = layers.forward(x, masks)?;
                        queried = x;
                        made
                    }
                    Some(_) => layers.forward_apart(&queried, x, masks)?,
                };
                pass.each_batch(
                    [&query, &key, &value],
                    |[query, key, value], shared, masks| {
                        let part = |part: &Tensor| split(part, self.heads);
                        self.attend([part(&query)?, part(&key)?, part(&value)?], shared, masks)
                    },
                )
            }
            ContentLayers::Fused {
                all,
                query_bias,
                value_bias,
            } => pass.each_batch([&all.forward(x, masks)?], |[all], shared, masks| {
                let biases = [query_bias, value_bias];
                self.attend(self.parts(&all, biases, pass.wanted)?, shared, masks)
            }),
        };
        self.output.forward(&context?, &queried, masks)
    }

    /// Queries, keys and values, (rows, heads, tokens, width), of a layer's output that has a head's
    /// three parts side by side; the first at the first `wanted` tokens, or at all.
    fn parts(
        &self,
        all: &Tensor,
        [query_bias, value_bias]: [&Tensor; 2],
        wanted: Option<i64>,
    ) -> Result<[Tensor; 3], ModelError> {
        let all = split(all, self.heads)?;
        let (width, heads) = (all.size()[3] / 3, self.heads);
        let part = |at: i64| all.f_narrow(3, at * width, width);
        let biased = |part: Tensor, bias: &Tensor| part.f_add(&bias.f_view([1, heads, 1, width])?);
        let query = biased(part(0)?, query_bias)?;
        let queries = wanted.unwrap_or(query.size()[2]);
        Ok([
            query.f_narrow(2, 0, queries)?,
            part(1)?,
            biased(part(2)?, value_bias)?,
        ])
    }

    /// The attended values of a batch, (rows, queries, hidden), from its queries, keys and values,
    /// (rows, heads, tokens, width).
    fn attend(
        &self,
        [query, key, value]: [Tensor; 3],
        shared: &DebertaShared,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let mut scores = query.f_matmul(&key.f_transpose(2, 3)?)?;
        if let (Some(table), Some(needed)) = (&self.positions, &shared.needed) {
            let rows = table.rows(needed)?.f_unsqueeze(0)?;
            let rows = dropout(&rows, self.position_dropout, masks)?;
            // (queries, keys)
            let places = needed.rows.f_narrow(0, 0, query.size()[2])?;
            for kind in &self.scores_by_position {
                let more = match kind {
                    PositionScore::ContentToPosition => {
                        self.to_position(&query, &rows, &places, masks)
                    }
                    PositionScore::PositionToContent => {
                        self.to_content(&key, &rows, &places, masks)
                    }
                };
                scores = scores.f_add(&more?)?;
            }
        }
        scores = scores.f_div_scalar(self.scale)?;
        if let Some(bias) = &shared.bias {
            scores = scores.f_add(bias)?;
        }
        let mut shares = probabilities(&scores)?;
        if let Some(mask) = next_mask(self.probs_dropout, masks)? {
            shares = mask.apply(&shares)?;
        }
        Ok(weighted_values(&shares, &value)?)
    }

    /// A layer for relative positions: their own, or the content's.
    fn position_layer<'a>(
        &'a self,
        own: Option<&'a Linear>,
        of_content: fn(&QueryKeyValue) -> &Linear,
    ) -> Result<&'a Linear, ModelError> {
        match (own, &self.content) {
            (Some(layer), _) => Ok(layer),
            (None, ContentLayers::Apart(layers)) => Ok(of_content(layers)),
            (None, ContentLayers::Fused { .. }) => Err(ModelError::Refused(
                "relative positions have no layer of their own".to_owned(),
            )),
        }
    }

    /// Scores of queries by the positions of keys, (rows, heads, queries, keys). `places`: the row
    /// of each query and key, (queries, keys).
    fn to_position(
        &self,
        query: &Tensor,
        rows: &Tensor,
        places: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let layer = self.position_layer(self.position_key.as_ref(), |layers| &layers.key)?;
        let keys = split(&layer.forward(rows, masks)?, self.heads)?;
        Ok(picked(query, &keys, places)?)
    }

    /// Scores of keys by the positions of queries, of the same shape.
    fn to_content(
        &self,
        key: &Tensor,
        rows: &Tensor,
        places: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let layer = self.position_layer(self.position_query.as_ref(), |layers| &layers.query)?;
        let queries = split(&layer.forward(rows, masks)?, self.heads)?;
        // How far a query is from a key is how far the key is from it the other way round.
        let places = places.f_transpose(0, 1)?;
        Ok(picked(key, &queries, &places)?.f_transpose(2, 3)?)
    }
}

/// The products of each token with its own rows of a table: tokens (rows, heads, tokens, width), the
/// table (1, heads, count, width), and the row of each product, (tokens, products).
fn picked(tokens: &Tensor, table: &Tensor, places: &Tensor) -> Result<Tensor, TchError> {
    let all = tokens.f_matmul(&table.f_transpose(2, 3)?)?;
    let (rows, heads, count, _) = all.size4()?;
    let products = places.size()[1];
    let places = places.f_expand([rows, heads, count, products], false)?;
    all.f_gather(-1, &places, false)
}
