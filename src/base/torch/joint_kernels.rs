//! Dropout and attention with dropout of several batches whose tokens lie side by side.

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::owned;

unsafe extern "C" {
    fn shim_dropout_of_parts(
        x: *const C_tensor,
        counts: *const i64,
        seeds: *const u64,
        count: usize,
        threshold: u32,
    ) -> *mut C_tensor;
    fn shim_suits_joint_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        heads: i64,
    ) -> bool;
    fn shim_joint_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        biases: *const *const C_tensor,
        sizes: *const i64,
        seeds: *const u64,
        count: usize,
        heads: i64,
        causal: bool,
        threshold: u32,
    ) -> *mut C_tensor;
}

/// [`dropout`](super::kernels::dropout) of parts of the values, one after the other in memory: each
/// has a number of values and a seed of its own, and its mask is as if it were alone.
///
/// # Errors
/// If the parts are not all values, the device fails, or the values are not floating-point numbers.
pub fn dropout_of_parts(
    x: &Tensor,
    parts: &[(i64, u64)],
    threshold: u16,
) -> Result<Tensor, TchError> {
    let (counts, seeds): (Vec<i64>, Vec<u64>) = parts.iter().copied().unzip();
    if counts.iter().any(|count| *count < 0) || counts.iter().sum::<i64>() != x.numel() as i64 {
        let message = format!("dropout of parts of {counts:?} of {} values", x.numel());
        return Err(TchError::Torch(message));
    }
    // SAFETY: `x` and both slices, of as many numbers as told, are alive through the call, and the
    // parts lie within `x`; what comes back is null or a tensor of our own.
    unsafe {
        owned(shim_dropout_of_parts(
            x.as_ptr(),
            counts.as_ptr(),
            seeds.as_ptr(),
            parts.len(),
            u32::from(threshold),
        ))
    }
}

/// One of several batches that lie side by side, as attention takes it.
#[derive(Debug, Clone, Copy)]
pub struct AttendedBatch<'a> {
    /// Its rows.
    pub rows: i64,
    /// The queries of a row.
    pub queries: i64,
    /// The keys and values of a row.
    pub tokens: i64,
    /// Keys the dropout of its probabilities.
    pub seed: u64,
    /// What is added to all scores of a row's keys, (rows, 1, 1, tokens), contiguous float32.
    pub bias: Option<&'a Tensor>,
}

/// Queries, (1, queries of all batches, hidden), and keys and values, (1, tokens of all, hidden).
#[derive(Debug, Clone, Copy)]
pub struct JointAttention<'a> {
    /// The queries.
    pub query: &'a Tensor,
    /// The keys.
    pub key: &'a Tensor,
    /// The values.
    pub value: &'a Tensor,
    /// Heads of the queries, side by side in `hidden`; keys and values may have fewer.
    pub heads: i64,
    /// Whether a query sees the keys of its row up to its own place alone.
    pub causal: bool,
}

impl JointAttention<'_> {
    /// Whether [`Self::attend`] is written for these: on a CPU with wide vectors, in float32, in heads
    /// whose width is a multiple of 16.
    #[must_use]
    pub fn is_known(&self) -> bool {
        // SAFETY: the tensors are alive through the call.
        unsafe {
            shim_suits_joint_attention(
                self.query.as_ptr(),
                self.key.as_ptr(),
                self.value.as_ptr(),
                self.heads,
            )
        }
    }

    /// Each batch's attention by itself, with its probabilities dropped, (1, queries of all, hidden).
    ///
    /// # Errors
    /// If it is not known, the batches are not what lies there, or memory runs out.
    pub fn attend(
        &self,
        batches: &[AttendedBatch<'_>],
        threshold: u16,
    ) -> Result<Tensor, TchError> {
        let sum = |of: fn(&AttendedBatch<'_>) -> i64| batches.iter().map(of).sum::<i64>();
        let fits = |batch: &AttendedBatch<'_>| {
            let (rows, tokens) = (batch.rows, batch.tokens);
            let is_covered = |bias: &Tensor| {
                bias.size() == [rows, 1, 1, tokens]
                    && bias.is_contiguous()
                    && bias.kind() == self.query.kind()
                    && bias.device() == self.query.device()
            };
            rows >= 0
                && tokens > 0
                && batch.queries >= 0
                && (!self.causal || batch.queries <= tokens)
                && batch.bias.is_none_or(is_covered)
        };
        if !self.is_known()
            || self.query.size3()?.1 != sum(|batch| batch.rows * batch.queries)
            || self.key.size3()?.1 != sum(|batch| batch.rows * batch.tokens)
            || !batches.iter().all(fits)
        {
            let message = "attention of batches that are not what lies side by side";
            return Err(TchError::Torch(message.to_owned()));
        }
        let sizes = |batch: &AttendedBatch<'_>| [batch.rows, batch.queries, batch.tokens];
        let sizes: Vec<i64> = batches.iter().flat_map(sizes).collect();
        let seeds: Vec<u64> = batches.iter().map(|batch| batch.seed).collect();
        let bias = |batch: &AttendedBatch<'_>| batch.bias.map_or(std::ptr::null(), Tensor::as_ptr);
        let biases: Vec<*const C_tensor> = batches.iter().map(bias).collect();
        // SAFETY: tensors and slices are alive through the call and as long as told; that batches and
        // biases lie within them was checked. What comes back is null or a tensor of our own.
        unsafe {
            owned(shim_joint_attention(
                self.query.as_ptr(),
                self.key.as_ptr(),
                self.value.as_ptr(),
                biases.as_ptr(),
                sizes.as_ptr(),
                seeds.as_ptr(),
                batches.len(),
                self.heads,
                self.causal,
                u32::from(threshold),
            ))
        }
    }
}
