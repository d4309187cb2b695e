//! Operations of our own: dropout, attention with dropout, frozen linear layers by oneDNN.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::{check, owned};

unsafe extern "C" {
    fn shim_dropout(x: *const C_tensor, seed: u64, threshold: u32) -> *mut C_tensor;
    fn shim_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        bias: *const C_tensor,
        heads: i64,
        causal: bool,
        seed: u64,
        threshold: u32,
        found: *mut *mut C_tensor,
    ) -> c_int;
    fn shim_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
    ) -> *mut C_tensor;
}

/// Zeroes values by a mask and scales the others, so that the mean is kept: y = x mask / (1 − p),
/// with p = `threshold` / 2¹⁶. The mask is a function of `seed`, of nothing else; also backward,
/// where it is drawn once more.
///
/// # Errors
/// If the device fails, or the values are not floating-point numbers.
pub fn dropout(x: &Tensor, seed: u64, threshold: u16) -> Result<Tensor, TchError> {
    // SAFETY: `x` is alive through the call; what comes back is null or a tensor of our own.
    unsafe { owned(shim_dropout(x.as_ptr(), seed, u32::from(threshold))) }
}

/// The inputs of multi-head attention.
///
/// # Shapes
/// `query` (rows, queries, hidden); `key` and `value` (rows, tokens, hidden); `bias`, added to all
/// scores of a row's keys, (rows, 1, 1, tokens).
#[derive(Debug, Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// The queries.
    pub query: &'a Tensor,
    /// The keys.
    pub key: &'a Tensor,
    /// The values.
    pub value: &'a Tensor,
    /// 0 where a key counts, −∞ or as near as can be where it does not.
    pub bias: Option<&'a Tensor>,
    /// Heads, side by side in `hidden`.
    pub heads: i64,
    /// Whether a query sees the keys up to its own place alone; the last query is at the last key.
    pub causal: bool,
}

/// Scaled dot-product attention whose probabilities are dropped as [`dropout`] does it, computed in
/// one pass on a CPU: (rows, queries, hidden). `None` where that is not written for what is given
/// (another device or kind, heads whose width is not a multiple of 16), or where the processor, or
/// what the compiler made for it, has no wide vectors, without which it is slower than the
/// definition.
///
/// # Errors
/// If memory runs out.
pub fn attention_with_dropout(
    attended: AttentionInputs<'_>,
    seed: u64,
    threshold: u16,
) -> Result<Option<Tensor>, TchError> {
    let AttentionInputs {
        query,
        key,
        value,
        bias,
        heads,
        causal,
    } = attended;
    let mut found = std::ptr::null_mut();
    // SAFETY: the tensors are alive through the call; null means no bias.
    let code = unsafe {
        shim_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            bias.map_or(std::ptr::null(), Tensor::as_ptr),
            heads,
            causal,
            seed,
            u32::from(threshold),
            &raw mut found,
        )
    };
    check(code)?;
    // SAFETY: what is not null is a tensor of our own.
    Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
}

/// A linear layer, `y = x Wᵀ + bias`, or without a bias: by oneDNN where that is faster, which is for many frozen
/// weights in float32 on a CPU, else as libtorch does it. The two round differently.
///
/// # Shapes
/// `x` (…, d_in), `weight` (d_out, d_in), `bias` (d_out), `y` (…, d_out).
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors are alive through the call, and null means no bias; what comes back is
    // null or a tensor of our own.
    unsafe { owned(shim_linear(x.as_ptr(), weight.as_ptr(), bias)) }
}
