//! Attention that looks back only.

use tch::{Kind, TchError, Tensor};

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
        match dropped {
            Some(mask) => self.by_definition(mask),
            None => self.fused(),
        }
    }

    /// By libtorch's fused kernels.
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
