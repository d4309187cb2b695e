//! Attention that looks back only.

use tch::{Kind, TchError, Tensor};

use crate::base::torch;
use crate::base::torch::kernels::AttentionInputs;
use crate::model::dropout::DropoutMask;

/// What attention is computed from, (rows, heads, tokens, width). Keys and values may have fewer
/// heads, each of which serves as many query heads side by side, and they may begin earlier: the
/// last query is at the last key.
#[derive(Debug)]
pub(crate) struct CausalAttention<'a> {
    pub query: &'a Tensor,
    pub key: &'a Tensor,
    pub value: &'a Tensor,
}

impl CausalAttention<'_> {
    /// The attended values, (rows, heads, queries, width).
    ///
    /// Padding on the right needs no mask: no token before it sees it.
    pub fn attend(&self, dropped: Option<DropoutMask>) -> Result<Tensor, TchError> {
        let Some(mask) = dropped else {
            return self.fused();
        };
        match self.in_one_pass(mask)? {
            Some(attended) => Ok(attended),
            None => self.by_definition(mask),
        }
    }

    /// With probabilities dropped, where there is a kernel for it: libtorch's drop none.
    fn in_one_pass(&self, mask: DropoutMask) -> Result<Option<Tensor>, TchError> {
        let heads = self.query.size()[1];
        let attended = AttentionInputs {
            query: &join(self.query)?,
            key: &join(self.key)?,
            value: &join(self.value)?,
            bias: None,
            heads,
            causal: true,
        };
        let found = torch::kernels::attention_with_dropout(attended, mask.seed, mask.threshold)?;
        found.map(|found| split(&found, heads)).transpose()
    }

    /// Keys and values with their heads side by side, (rows, tokens, heads × width).
    pub fn keys_and_values(&self) -> Result<(Tensor, Tensor), TchError> {
        Ok((join(self.key)?, join(self.value)?))
    }

    /// By libtorch's fused kernels, which keep no probabilities and take grouped heads as they are.
    /// Repeating those first takes 1.1 to 1.4 times as long in training, with 9 query and 3 key heads
    /// of width 64, 1 to 8 rows and 64 to 512 tokens.
    fn fused(&self) -> Result<Tensor, TchError> {
        let (queries, keys) = (self.queries(), self.keys());
        let whole = queries == keys && queries > 1;
        let mask = (queries != keys && queries > 1).then(|| self.visible());
        Tensor::f_scaled_dot_product_attention(
            self.query,
            self.key,
            self.value,
            mask.transpose()?.as_ref(),
            0.0,
            whole,
            None,
            self.grouped(),
        )
    }

    /// As it is defined, with probabilities dropped.
    fn by_definition(&self, mask: DropoutMask) -> Result<Tensor, TchError> {
        let groups = self.query.size()[1] / self.key.size()[1];
        let per_query = |x: &Tensor| match groups {
            1 => Ok(x.shallow_clone()),
            groups => x.f_repeat_interleave_self_int(groups, 1, None),
        };
        let (key, value) = (per_query(self.key)?, per_query(self.value)?);
        let width = self.query.size()[3] as f64;
        let scores = self
            .query
            .f_matmul(&key.f_transpose(2, 3)?)?
            .f_mul_scalar(width.sqrt().recip())?;
        let hidden = self.visible()?.f_logical_not()?;
        let scores = scores.f_masked_fill(&hidden, f64::NEG_INFINITY)?;
        let shares = scores.f_softmax(-1, Kind::Float)?;
        mask.apply(&shares)?
            .f_to_kind(value.kind())?
            .f_matmul(&value)
    }

    fn queries(&self) -> i64 {
        self.query.size()[2]
    }

    fn keys(&self) -> i64 {
        self.key.size()[2]
    }

    fn grouped(&self) -> bool {
        self.query.size()[1] != self.key.size()[1]
    }

    /// Which keys each query sees, (queries, keys).
    fn visible(&self) -> Result<Tensor, TchError> {
        let (queries, keys) = (self.queries(), self.keys());
        let all = Tensor::f_ones([queries, keys], (Kind::Bool, self.query.device()))?;
        all.f_tril(keys - queries)
    }
}

/// (rows, tokens, heads × width) to (rows, heads, tokens, width).
pub(crate) fn split(x: &Tensor, heads: i64) -> Result<Tensor, TchError> {
    let (rows, tokens, hidden) = x.size3()?;
    x.f_view([rows, tokens, heads, hidden / heads])?
        .f_transpose(1, 2)
}

/// (rows, heads, tokens, width) to (rows, tokens, heads × width).
pub(crate) fn join(x: &Tensor) -> Result<Tensor, TchError> {
    let (rows, heads, tokens, width) = x.size4()?;
    x.f_transpose(1, 2)?
        .f_reshape([rows, tokens, heads * width])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    const MASK: DropoutMask = DropoutMask {
        seed: 11,
        threshold: 6554,
    };

    /// Output, and gradients by query, key and value, of a weighted sum of it.
    fn results(
        attend: impl Fn(&CausalAttention<'_>) -> Result<Tensor, TchError>,
        kind: Kind,
        [rows, heads, queries, tokens, width]: [i64; 5],
    ) -> Vec<Tensor> {
        let values = |shape: &[i64], step: f64| {
            let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
            (count * step).sin().reshape(shape).to_kind(kind)
        };
        let leaf =
            |tokens, step| values(&[rows, tokens, heads * width], step).set_requires_grad(true);
        let (query, key, value) = (leaf(queries, 0.7), leaf(tokens, 1.1), leaf(tokens, 1.9));
        let part = |x: &Tensor, scale: f64| split(&(x * scale), heads).unwrap();
        let attention = CausalAttention {
            query: &part(&query, 3.0),
            key: &part(&key, 2.0),
            value: &part(&value, 1.0),
        };
        let attended = attend(&attention).unwrap();
        (&attended * values(&attended.size(), 0.3))
            .sum(kind)
            .backward();
        vec![attended.detach(), query.grad(), key.grad(), value.grad()]
    }

    #[test]
    fn attention_in_one_pass_and_its_gradients_are_those_of_float64() {
        // Lengths around the blocks' and the vectors' ends; as many queries as keys and fewer.
        for sizes in [
            [3, 2, 71, 71, 32],
            [1, 1, 16, 16, 64],
            [2, 2, 1, 37, 16],
            [2, 3, 5, 130, 16],
            [1, 2, 97, 97, 48],
            [1, 1, 1, 1, 16],
        ] {
            let exact = results(|it| it.by_definition(MASK), Kind::Double, sizes);
            let found = results(|it| it.attend(Some(MASK)), Kind::Float, sizes);
            for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                let miss = (found - exact).abs().max().double_value(&[]);
                assert!(miss < 1e-5, "{sizes:?}: tensor {at} misses by {miss:e}");
            }
        }
    }

    #[test]
    fn grouped_heads_are_those_that_are_repeated_for_each_query_head() {
        let (options, mask) = ((Kind::Float, Device::Cpu), Some(MASK));
        let query = Tensor::randn([2, 6, 9, 16], options);
        let (key, value) = (
            Tensor::randn([2, 2, 9, 16], options),
            Tensor::randn([2, 2, 9, 16], options),
        );
        let attend = |key: &Tensor, value: &Tensor, mask| {
            let query = &query;
            CausalAttention { query, key, value }.attend(mask).unwrap()
        };
        let each = |x: &Tensor| x.repeat_interleave_self_int(3, 1, None);
        for mask in [mask, None] {
            let grouped = attend(&key, &value, mask);
            let repeated = attend(&each(&key), &each(&value), mask);
            assert!(grouped.allclose(&repeated, 1e-5, 1e-6, false));
        }
    }
}
