//! Self-attention: Vaswani et al., *Attention Is All You Need*, 2017.

use tch::{Kind, TchError, Tensor};

use crate::base::torch;
use crate::base::torch::joint_kernels::JointAttention;
use crate::base::torch::kernels::AttentionInputs;
use crate::base::torch::narrow;
use crate::model::ModelError;
use crate::model::dropout::{DropoutMask, Masks, next_mask};
use crate::model::encoder::layer_spec::LayerSpec;
use crate::model::encoder::pass::LayerPass;
use crate::model::joint_attention;
use crate::model::layers::LayerNorm;
use crate::model::layers::linear::Linear;
use crate::model::layers::query_key_value::QueryKeyValue;
use crate::model::weights::View;

/// Multi-head self-attention with its output projection, residual and norm.
pub(crate) struct Attention {
    inputs: QueryKeyValue,
    output: AttentionOutput,
    heads: i64,
    probs_dropout: f64,
}

impl Attention {
    pub(crate) fn new(view: &View<'_>, spec: &LayerSpec) -> Result<Self, ModelError> {
        Ok(Self {
            inputs: spec.query_key_value(view)?,
            output: AttentionOutput::new(view, spec)?,
            heads: spec.heads,
            probs_dropout: spec.probs_dropout,
        })
    }

    /// The output at the tokens that are wanted. What layers share is the bias of attention's scores.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        pass: &LayerPass<'_, Option<Tensor>>,
    ) -> Result<Tensor, ModelError> {
        let (queried, masks) = (pass.wanted_of(x)?, pass.masks);
        let ([query, key, value], queried) = match pass.wanted {
            None => self.inputs.forward(x, masks)?,
            Some(_) => (self.inputs.forward_apart(&queried, x, masks)?, queried),
        };
        let all = JointAttention {
            query: &query,
            key: &key,
            value: &value,
            heads: self.heads,
            causal: false,
        };
        let context = match attend_jointly(&all, pass, self.probs_dropout)? {
            Some(context) => context,
            None => self.attend_by_batch(&all, pass)?,
        };
        self.output.forward(&context, &queried, masks)
    }

    /// The attended values of each batch by itself.
    fn attend_by_batch(
        &self,
        all: &JointAttention<'_>,
        pass: &LayerPass<'_, Option<Tensor>>,
    ) -> Result<Tensor, ModelError> {
        let parts = [all.query, all.key, all.value];
        pass.each_batch(parts, |[query, key, value], bias, masks| {
            let attended = AttentionInputs {
                query: &query,
                key: &key,
                value: &value,
                bias: bias.as_ref(),
                heads: self.heads,
                causal: false,
            };
            Ok(attend(attended, next_mask(self.probs_dropout, masks)?)?)
        })
    }
}

/// What follows attention: its output projection, residual and norm.
pub(crate) struct AttentionOutput {
    dense: Linear,
    norm: LayerNorm,
    dropout: f64,
}

impl AttentionOutput {
    pub fn new(view: &View<'_>, spec: &LayerSpec) -> Result<Self, ModelError> {
        let (h, names) = (spec.width, spec.modules);
        Ok(Self {
            dense: spec.linear(view, names.attention_output, [h, h])?,
            norm: spec.norm(view, names.attention_norm)?,
            dropout: spec.attention_dropout,
        })
    }

    /// The layer's hidden states after attention, which gave `context` for `x`.
    pub fn forward(
        &self,
        context: &Tensor,
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        self.dense
            .forward_normed(context, x, &self.norm, self.dropout, masks)
    }
}

/// The attended values of several batches that lie side by side, (1, queries of all, hidden), in one
/// call; `None` where there is one batch, nothing is dropped, or the kernel is not written for them.
/// What layers share is the bias of attention's scores.
fn attend_jointly(
    all: &JointAttention<'_>,
    pass: &LayerPass<'_, Option<Tensor>>,
    dropout: f64,
) -> Result<Option<Tensor>, ModelError> {
    let Some(members) = pass.masks.and_then(Masks::members) else {
        return Ok(None);
    };
    let biases = pass.shared.iter().map(Option::as_ref);
    joint_attention::attend(all, members, pass.wanted, biases, dropout)
}

/// Attention, (rows, queries, hidden), whose probabilities may be dropped: in one pass where there is a
/// kernel for it. The bias is (rows or 1, 1, queries or 1, tokens).
pub(crate) fn attend(
    attended: AttentionInputs<'_>,
    mask: Option<DropoutMask>,
) -> Result<Tensor, TchError> {
    let DropoutMask { seed, threshold } = mask.unwrap_or_default();
    // In float32 libtorch's kernels, which keep no probabilities, are fast where nothing is dropped.
    let is_faster = mask.is_some() || narrow::is_on(attended.query.device());
    if is_faster
        && has_bias_of_keys(&attended)
        && let Some(context) = torch::kernels::attention(attended, seed, threshold)?
    {
        return Ok(context);
    }
    match mask {
        Some(mask) => attend_by_definition(attended, mask),
        None => attend_by_all(attended),
    }
}

/// Whether there is no bias, or one for all queries of a row, as kernels have it.
fn has_bias_of_keys(attended: &AttentionInputs<'_>) -> bool {
    let (rows, tokens, _) = attended.key.size3().unwrap_or_default();
    attended
        .bias
        .is_none_or(|bias| bias.size() == [rows, 1, 1, tokens])
}

/// (rows, tokens, hidden) to (rows, heads, tokens, hidden / heads).
pub(crate) fn split(x: &Tensor, heads: i64) -> Result<Tensor, TchError> {
    let (rows, tokens, hidden) = x.size3()?;
    x.f_view([rows, tokens, heads, hidden / heads])?
        .f_transpose(1, 2)
}

/// (rows, heads, tokens, hidden / heads) to (rows, tokens, hidden).
pub(crate) fn join(x: &Tensor) -> Result<Tensor, TchError> {
    let (rows, heads, tokens, width) = x.size4()?;
    x.f_transpose(1, 2)?
        .f_reshape([rows, tokens, heads * width])
}

/// Attention of all probabilities, by libtorch's fused kernels.
fn attend_by_all(attended: AttentionInputs<'_>) -> Result<Tensor, TchError> {
    let part = |x| split(x, attended.heads);
    let (query, key, value) = (
        part(attended.query)?,
        part(attended.key)?,
        part(attended.value)?,
    );
    join(&Tensor::f_scaled_dot_product_attention(
        &query,
        &key,
        &value,
        attended.bias,
        0.0,
        false,
        None,
        false,
    )?)
}

/// Attention whose probabilities are dropped, by its definition: libtorch's fused kernels draw from its
/// own generator, so they cannot be used.
fn attend_by_definition(
    attended: AttentionInputs<'_>,
    mask: DropoutMask,
) -> Result<Tensor, TchError> {
    let query = split(attended.query, attended.heads)?;
    let key = split(attended.key, attended.heads)?;
    let width = query.size()[3] as f64;
    let scaled = query.f_mul_scalar(width.sqrt().recip())?;
    let mut scores = scaled.f_matmul(&key.f_transpose(2, 3)?)?;
    if let Some(bias) = attended.bias {
        scores = scores.f_add(bias)?;
    }
    let probs = mask.apply(&probabilities(&scores)?)?;
    weighted_values(&probs, &split(attended.value, attended.heads)?)
}

/// The probabilities of scores, (…, tokens): as wide without padding as with it, whose bias makes
/// float32 of narrow scores.
pub(crate) fn probabilities(scores: &Tensor) -> Result<Tensor, TchError> {
    let kind = match scores.kind() {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    };
    scores.f_softmax(-1, kind)
}

/// The sums of values, (rows, heads, tokens, width), by their probabilities,
/// (rows, heads, queries, tokens), side by side: (rows, queries, hidden).
pub(crate) fn weighted_values(probs: &Tensor, values: &Tensor) -> Result<Tensor, TchError> {
    // Narrow values have wide probabilities, and no product takes both.
    join(&probs.f_to_kind(values.kind())?.f_matmul(values)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::base::torch::device::Autocast;

    /// Output, and gradients by query, key and value, of a weighted sum of it.
    fn results(
        attend: impl Fn(AttentionInputs<'_>, DropoutMask) -> Result<Tensor, TchError>,
        kind: Kind,
        [rows, queries, tokens, heads, width]: [i64; 5],
        padded: bool,
    ) -> Vec<Tensor> {
        let values = |shape: &[i64], step: f64| {
            let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
            // Such as every kind has.
            let narrow = (count * step).sin().reshape(shape).to_kind(Kind::BFloat16);
            narrow.to_kind(kind)
        };
        let hidden = heads * width;
        let leaf = |tokens, step| values(&[rows, tokens, hidden], step).set_requires_grad(true);
        let (query, key, value) = (leaf(queries, 0.7), leaf(tokens, 1.1), leaf(tokens, 1.9));
        // The last rows are the shorter ones.
        let wide = if kind == Kind::BFloat16 {
            Kind::Float
        } else {
            kind
        };
        let bias = Tensor::zeros([rows, 1, 1, tokens], (wide, Device::Cpu));
        let _ = bias
            .get(rows - 1)
            .narrow(2, tokens / 2, tokens - tokens / 2)
            .fill_(f64::from(f32::MIN));
        let attended = AttentionInputs {
            // As a layer that asks for the first tokens alone does.
            query: &(&query * 2.0),
            key: &(&key * 2.0),
            value: &value,
            bias: padded.then_some(&bias),
            heads,
            causal: false,
        };
        let mask = DropoutMask {
            seed: 11,
            threshold: 6554,
        };
        let context = attend(attended, mask).unwrap();
        (&context * values(&context.size(), 0.3))
            .sum(kind)
            .backward();
        vec![context.detach(), query.grad(), key.grad(), value.grad()]
    }

    /// Attention as it is called in training.
    fn attend_dropping(
        attended: AttentionInputs<'_>,
        mask: DropoutMask,
    ) -> Result<Tensor, TchError> {
        attend(attended, Some(mask))
    }

    /// Compares what is computed of numbers of a kind with float64; `allowed` of the largest of a
    /// tensor's values.
    fn assert_near_definition(kind: Kind, allowed: impl Fn(f64) -> f64) {
        // Lengths below, at and above a multiple of 16, one query and many.
        for sizes in [
            [3, 71, 71, 2, 32],
            [2, 1, 37, 3, 16],
            [1, 16, 16, 1, 64],
            [2, 5, 1, 2, 16],
            [2, 130, 130, 1, 48],
        ] {
            for padded in [false, true] {
                let exact = results(attend_by_definition, Kind::Double, sizes, padded);
                let found = results(attend_dropping, kind, sizes, padded);
                for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                    let miss = (found - exact).abs().max().double_value(&[]);
                    let largest = exact.abs().max().double_value(&[]);
                    assert!(
                        miss <= allowed(largest),
                        "{sizes:?} padded {padded}: tensor {at} misses by {miss:e} of {largest}"
                    );
                }
            }
        }
    }

    #[test]
    fn attention_with_dropout_and_its_gradients_are_those_of_float64() {
        assert_near_definition(Kind::Float, |_| 1e-5);
    }

    #[test]
    fn attention_in_bfloat16_and_its_gradients_are_those_of_float64() {
        let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
        if torch::narrow::is_on(Device::Cpu) {
            // Inputs and what is kept are rounded to 8 bits.
            assert_near_definition(Kind::BFloat16, |largest| largest / 30.0 + 1e-6);
        }
    }

    #[test]
    fn probabilities_are_as_exact_in_an_unpadded_batch_as_in_a_padded_one() {
        let values = |step: f64| {
            let count = Tensor::arange(3 * 40 * 32, (Kind::Double, Device::Cpu));
            (count * step)
                .sin()
                .reshape([3, 40, 32])
                .to_kind(Kind::Float)
                * 2.0
        };
        let (query, key, value) = (values(0.7), values(1.1), values(1.9));
        let nothing = Tensor::zeros([3, 1, 1, 40], (Kind::Float, Device::Cpu));
        let mask = DropoutMask {
            seed: 11,
            threshold: 6554,
        };
        let attend = |bias| {
            let attended = AttentionInputs {
                query: &query,
                key: &key,
                value: &value,
                bias,
                heads: 2,
                causal: false,
            };
            let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
            attend_by_definition(attended, mask).unwrap()
        };
        let unpadded = attend(None);
        assert_eq!(unpadded.kind(), Kind::BFloat16);
        assert_eq!(unpadded, attend(Some(&nothing)));
    }

    #[test]
    fn attention_with_dropout_does_not_depend_on_the_number_of_threads() {
        let run = |threads| {
            torch::threads::use_threads(threads);
            results(attend_dropping, Kind::Float, [3, 71, 71, 2, 32], true)
        };
        let one = run(1);
        assert_eq!(run(2), one);
        torch::threads::use_threads(1);
    }

    #[test]
    fn what_the_kernel_does_not_suit_is_left_to_the_definition() {
        for (kind, width) in [(Kind::Float, 20), (Kind::Double, 32), (Kind::BFloat16, 32)] {
            let x = Tensor::ones([2, 3, 2 * width], (kind, Device::Cpu));
            let attended = AttentionInputs {
                query: &x,
                key: &x,
                value: &x,
                bias: None,
                heads: 2,
                causal: false,
            };
            let found = torch::kernels::attention(attended, 1, 6554).unwrap();
            assert!(found.is_none(), "{kind:?}, {width} wide");
            let mask = DropoutMask {
                seed: 1,
                threshold: 6554,
            };
            assert_eq!(attend_dropping(attended, mask).unwrap().size(), x.size());
        }
    }
}
