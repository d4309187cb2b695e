//! Attention that looks back only.

use tch::{Device, Kind, TchError, Tensor};

use crate::base::torch;
use crate::base::torch::kernels::AttentionInputs;
use crate::base::torch::narrow;
use crate::model::dropout::DropoutMask;
use crate::model::layers::soft_cap::SoftCap;

/// How scores are made of queries and keys, and which keys have any.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Scoring {
    /// What products of queries and keys are multiplied by; `None`: 1/√width.
    pub scale: Option<f64>,
    /// The cap of these scores, before any are masked.
    pub softcap: Option<SoftCap>,
    /// N, where a query sees the last N keys up to its own place; `None`: all of them.
    pub window: Option<i64>,
}

impl Scoring {
    /// The window, where some of N keys are outside of it.
    fn window_of(self, keys: i64) -> Option<i64> {
        self.window.filter(|window| *window < keys)
    }

    /// Whether the scores of N keys are what the kernel with dropout computes: products divided by
    /// √width, without a cap or a window.
    pub fn is_plain(self, keys: i64) -> bool {
        self.scale.is_none() && self.softcap.is_none() && self.window_of(keys).is_none()
    }

    /// Whether training on texts of N tokens keeps their scores: libtorch's fused kernels know no caps
    /// and drop nothing, and ours takes plain scores only.
    pub fn keeps_scores(self, tokens: i64, dropout: f64) -> bool {
        self.softcap.is_some() || (dropout > 0.0 && !self.is_plain(tokens))
    }
}

/// What attention is computed from, (rows, heads, tokens, width). Keys and values may have fewer
/// heads, each of which serves as many query heads side by side, and they may begin earlier: the
/// last query is at the last key.
#[derive(Debug)]
pub(crate) struct CausalAttention<'a> {
    pub query: &'a Tensor,
    pub key: &'a Tensor,
    pub value: &'a Tensor,
    pub scoring: Scoring,
}

impl CausalAttention<'_> {
    /// The attended values, (rows, heads, queries, width).
    ///
    /// Padding on the right needs no mask: no token before it sees it.
    pub fn attend(&self, dropped: Option<DropoutMask>) -> Result<Tensor, TchError> {
        if let Some(attended) = self.in_one_pass(dropped)? {
            return Ok(attended);
        }
        match (dropped, self.scoring.softcap) {
            (None, None) => self.fused(),
            _ => self.by_definition(&self.visible()?, dropped),
        }
    }

    /// The same with another choice of the keys that each query sees, which is broadcast to (rows,
    /// heads, queries, keys).
    pub fn attend_where(&self, visible: &Tensor) -> Result<Tensor, TchError> {
        match self.scoring.softcap {
            None => self.by_libtorch(Some(visible), false),
            Some(_) => self.by_definition(visible, None),
        }
    }

    /// By a kernel of our own, where there is one and it is faster: libtorch's have no dropout, and on a
    /// CPU they prepare each small product separately. Ours takes plain scores only, and keeps the
    /// probabilities. Without dropout it is used where these have no more values than queries, keys,
    /// values and context together.
    fn in_one_pass(&self, dropped: Option<DropoutMask>) -> Result<Option<Tensor>, TchError> {
        let is_short = || self.keys() <= 4 * self.query.size()[3];
        let is_faster = dropped.is_some() || (self.is_for_kernels() && is_short());
        if !is_faster || !self.scoring.is_plain(self.keys()) {
            return Ok(None);
        }
        let heads = self.query.size()[1];
        let attended = AttentionInputs {
            query: &join(self.query)?,
            key: &join(self.key)?,
            value: &join(self.value)?,
            bias: None,
            heads,
            causal: true,
        };
        let DropoutMask { seed, threshold } = dropped.unwrap_or_default();
        let found = torch::kernels::attention(attended, seed, threshold)?;
        found.map(|found| split(&found, heads)).transpose()
    }

    /// Whether kernels of our own compute attention without dropout of these numbers, on this device.
    fn is_for_kernels(&self) -> bool {
        let device = self.query.device();
        narrow::is_on(device) || (device == Device::Cpu && self.query.kind() == Kind::Float)
    }

    /// Keys and values with their heads side by side, (rows, tokens, heads × width).
    pub fn keys_and_values(&self) -> Result<(Tensor, Tensor), TchError> {
        Ok((join(self.key)?, join(self.value)?))
    }

    fn fused(&self) -> Result<Tensor, TchError> {
        let (queries, keys) = (self.queries(), self.keys());
        let windowed = self.window().is_some();
        let whole = queries == keys && queries > 1 && !windowed;
        let masked = windowed || (queries != keys && queries > 1);
        let mask = masked.then(|| self.visible()).transpose()?;
        self.by_libtorch(mask.as_ref(), whole)
    }

    /// By libtorch's fused kernels, which keep no probabilities and take grouped heads as they are.
    /// Repeating those first takes 1.1 to 1.4 times as long in training, with 9 query and 3 key heads
    /// of width 64, 1 to 8 rows and 64 to 512 tokens.
    fn by_libtorch(&self, mask: Option<&Tensor>, causal: bool) -> Result<Tensor, TchError> {
        Tensor::f_scaled_dot_product_attention(
            self.query,
            self.key,
            self.value,
            mask,
            0.0,
            causal,
            self.scoring.scale,
            self.grouped(),
        )
    }

    /// As it is defined, with probabilities dropped if any are.
    fn by_definition(
        &self,
        visible: &Tensor,
        dropped: Option<DropoutMask>,
    ) -> Result<Tensor, TchError> {
        let groups = self.query.size()[1] / self.key.size()[1];
        let per_query = |x: &Tensor| match groups {
            1 => Ok(x.shallow_clone()),
            groups => x.f_repeat_interleave_self_int(groups, 1, None),
        };
        let (key, value) = (per_query(self.key)?, per_query(self.value)?);
        let width = self.query.size()[3] as f64;
        let scale = self.scoring.scale.unwrap_or(width.sqrt().recip());
        let mut scores = self
            .query
            .f_matmul(&key.f_transpose(2, 3)?)?
            .f_mul_scalar(scale)?;
        if let Some(cap) = self.scoring.softcap {
            scores = cap.forward(&scores)?;
        }
        let hidden = visible.f_logical_not()?;
        let scores = scores.f_masked_fill(&hidden, f64::NEG_INFINITY)?;
        let mut shares = scores.f_softmax(-1, Kind::Float)?;
        if let Some(mask) = dropped {
            shares = mask.apply(&shares)?;
        }
        shares.f_to_kind(value.kind())?.f_matmul(&value)
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

    /// The window, where some key is outside of it.
    fn window(&self) -> Option<i64> {
        self.scoring.window_of(self.keys())
    }

    /// Which keys each query sees, (queries, keys).
    fn visible(&self) -> Result<Tensor, TchError> {
        let (queries, keys) = (self.queries(), self.keys());
        let all = Tensor::f_ones([queries, keys], (Kind::Bool, self.query.device()))?;
        let before = all.f_tril(keys - queries)?;
        match self.window() {
            None => Ok(before),
            Some(window) => before.f_triu(keys - queries - window + 1),
        }
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
mod tests;
