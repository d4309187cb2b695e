//! Operations of our own: dropout, attention, activations, positions, frozen linear layers by
//! oneDNN.

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
    fn shim_next_attention(
        query: *const C_tensor,
        heads: i64,
        key_heads: i64,
        prompt_keys: *const *mut C_tensor,
        prompt_values: *const *mut C_tensor,
        prompts: usize,
        step_keys: *const *mut C_tensor,
        step_values: *const *mut C_tensor,
        steps: usize,
        prompt_of: *const i64,
        rows: *const i64,
        scale: f32,
        softcap: f32,
        window: i64,
        found: *mut *mut C_tensor,
    ) -> c_int;
    fn shim_rotate(
        x: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        found: *mut *mut C_tensor,
    ) -> c_int;
    fn shim_sigmoid_gate(
        x: *const C_tensor,
        gated: *const C_tensor,
        linear: f64,
        cubic: f64,
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
/// `query` (rows, queries, hidden); `key` and `value` (rows, tokens, hidden), or narrower by a factor:
/// with fewer heads, each of which serves as many query heads side by side; `bias`, added to all scores of
/// a row's keys, (rows, 1, 1, tokens).
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

/// Scaled dot-product attention whose probabilities are dropped as [`dropout`] does it, none where
/// `threshold` is 0: (rows, queries, hidden). A CPU computes it in one pass, a GPU by two products and one
/// kernel between them, with NVRTC and where anything is dropped.
///
/// `None` where that is not written for what is given: on a CPU heads whose width is not a multiple of
/// 16, anywhere a bias that is not one of a row's keys. In bfloat16 also where layers are not
/// computed in it here ([`narrow`](super::narrow)); on a GPU for fewer heads of keys, and where nothing
/// is dropped; in float32 on a CPU where the processor, or what the compiler made for it, has no wide
/// vectors, without which it is slower than the definition.
///
/// # Errors
/// If memory runs out.
pub fn attention(
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

/// What one more token of each text attends to: the tokens of the prompt that the text began with, and
/// one row of each step after it, the last of which is the token's own.
///
/// # Shapes
/// `query` (texts, heads × width); of each prompt, keys and values (tokens, key_heads × width); of each
/// step, (rows, key_heads × width).
#[derive(Debug)]
pub struct NextAttention<'a> {
    /// The queries.
    pub query: &'a Tensor,
    /// Heads of the queries, side by side.
    pub heads: i64,
    /// Heads of the keys, each of which serves as many query heads side by side.
    pub key_heads: i64,
    /// Keys and values of each prompt.
    pub prompts: &'a [(Tensor, Tensor)],
    /// Keys and values of each step.
    pub steps: &'a [(Tensor, Tensor)],
    /// The prompt of each text.
    pub prompt_of: &'a [i64],
    /// The row of each text in each step, (texts, steps).
    pub rows: &'a [i64],
    /// What products of queries and keys are multiplied by; `None`: 1/√width.
    pub scale: Option<f64>,
    /// c, where scores s are `c tanh(s / c)`.
    pub softcap: Option<f64>,
    /// N, where a text's last N tokens are all that its next one sees, itself among them; from 1.
    pub window: Option<i64>,
}

impl NextAttention<'_> {
    /// The attended values, (texts, heads × width), computed where keys and values lie; `None` as for
    /// [`attention`]. What a text's token gets does not depend on the other texts.
    ///
    /// # Errors
    /// If a prompt or a row is not there, or memory runs out.
    pub fn attend(&self) -> Result<Option<Tensor>, TchError> {
        let texts = self.query.size()[0] as usize;
        if self.prompt_of.len() != texts || self.rows.len() != texts * self.steps.len() {
            return Err(TchError::Shape(format!(
                "{texts} texts of {} steps have {} prompts and {} rows",
                self.steps.len(),
                self.prompt_of.len(),
                self.rows.len()
            )));
        }
        let pointers = |stored: &[(Tensor, Tensor)]| -> (Vec<_>, Vec<_>) {
            let both = |(key, value): &(Tensor, Tensor)| {
                (key.as_ptr().cast_mut(), value.as_ptr().cast_mut())
            };
            stored.iter().map(both).unzip()
        };
        let (prompt_keys, prompt_values) = pointers(self.prompts);
        let (step_keys, step_values) = pointers(self.steps);
        let width = self.query.size()[1] as f32 / self.heads as f32;
        let scale = self.scale.map_or(1.0 / width.sqrt(), |scale| scale as f32);
        let mut found = std::ptr::null_mut();
        // SAFETY: all tensors are alive through the call, which changes none; the lists are as long as
        // it is told, the last two by the check above.
        let code = unsafe {
            shim_next_attention(
                self.query.as_ptr(),
                self.heads,
                self.key_heads,
                prompt_keys.as_ptr(),
                prompt_values.as_ptr(),
                prompt_keys.len(),
                step_keys.as_ptr(),
                step_values.as_ptr(),
                step_keys.len(),
                self.prompt_of.as_ptr(),
                self.rows.as_ptr(),
                scale,
                self.softcap.map_or(0.0, |cap| cap as f32),
                self.window.unwrap_or(i64::MAX),
                &raw mut found,
            )
        };
        check(code)?;
        // SAFETY: what is not null is a tensor of our own.
        Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
    }
}

/// A linear layer, `y = x Wᵀ + bias`, or without a bias: by oneDNN where that is faster, which is for
/// many frozen weights in float32 on a CPU, else as libtorch does it. The two round differently.
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

/// Rotary position embedding in one pass: a head's values in pairs (a, b), one of each half, become
/// (a cos − b sin, b cos + a sin). Computed in float32; of the kind of `x`.
///
/// `None` where that is not written for what is given: on a GPU, in other kinds than float32 and bfloat16,
/// for heads whose width is not a multiple of 16, and tables that do not fit.
///
/// # Shapes
/// `x` and what comes back (rows, heads, tokens, width); `cos` and `sin` (tokens, width) or (rows, 1,
/// tokens, width), both halves of which are alike.
///
/// # Errors
/// If memory runs out.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Option<Tensor>, TchError> {
    let mut found = std::ptr::null_mut();
    // SAFETY: the tensors are alive through the call.
    let code = unsafe { shim_rotate(x.as_ptr(), cos.as_ptr(), sin.as_ptr(), &raw mut found) };
    check(code)?;
    // SAFETY: what is not null is a tensor of our own.
    Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
}

/// An activation that is its input times a sigmoid of it: `x σ(linear x + cubic x³)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmoidGate {
    /// What x is multiplied by.
    pub linear: f64,
    /// What x³ is multiplied by.
    pub cubic: f64,
}

impl SigmoidGate {
    /// The activation of `x`, times what it gates if that is given, in one pass over both.
    ///
    /// `None` where that is not written for them: on a GPU, in other kinds than float32 and bfloat16, and
    /// for two kinds or shapes.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn forward(self, x: &Tensor, gated: Option<&Tensor>) -> Result<Option<Tensor>, TchError> {
        let mut found = std::ptr::null_mut();
        let gated = gated.map_or(std::ptr::null(), Tensor::as_ptr);
        // SAFETY: the tensors are alive through the call; null means that nothing is gated.
        let code = unsafe {
            shim_sigmoid_gate(x.as_ptr(), gated, self.linear, self.cubic, &raw mut found)
        };
        check(code)?;
        // SAFETY: what is not null is a tensor of our own.
        Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
    }
}
