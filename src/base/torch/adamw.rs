//! AdamW over many tensors in one call, and what loss scaling does to their gradients.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_fused_adamw(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        means: *const *mut C_tensor,
        squares: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        len: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> c_int;
    fn shim_unscale(
        gradients: *const *mut C_tensor,
        count: usize,
        factor: f64,
        finite: *mut c_int,
    ) -> c_int;
}

/// One tensor's part of an AdamW step.
#[derive(Debug)]
pub struct AdamWParameter<'a> {
    /// The trained tensor; changed in place.
    pub value: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Mean of its gradients; changed in place.
    pub mean: &'a Tensor,
    /// Mean of their squares; changed in place.
    pub square: &'a Tensor,
    /// Steps taken, a float32 scalar; counted up.
    pub steps: &'a Tensor,
}

/// Constants of an AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConstants {
    /// Learning rate.
    pub rate: f64,
    /// β₁ and β₂.
    pub betas: (f64, f64),
    /// Weight decay.
    pub weight_decay: f64,
    /// ε.
    pub epsilon: f64,
}

/// A step of AdamW over all tensors in one call.
///
/// # Errors
/// If tensors differ in shape or device.
pub fn fused_adamw(
    parameters: &[AdamWParameter<'_>],
    constants: AdamWConstants,
) -> Result<(), TchError> {
    let pointers = |of: fn(&AdamWParameter<'_>) -> *mut C_tensor| -> Vec<_> {
        parameters.iter().map(of).collect()
    };
    let values = pointers(|p| p.value.as_ptr().cast_mut());
    let gradients = pointers(|p| p.gradient.as_ptr().cast_mut());
    let means = pointers(|p| p.mean.as_ptr().cast_mut());
    let squares = pointers(|p| p.square.as_ptr().cast_mut());
    let steps = pointers(|p| p.steps.as_ptr().cast_mut());
    let (beta1, beta2) = constants.betas;
    // SAFETY: five arrays of as many pointers to tensors that are alive through the call, which
    // keeps none of them. It writes what the tensors refer to, as all in-place operations do.
    check(unsafe {
        shim_fused_adamw(
            values.as_ptr(),
            gradients.as_ptr(),
            means.as_ptr(),
            squares.as_ptr(),
            steps.as_ptr(),
            parameters.len(),
            constants.rate,
            beta1,
            beta2,
            constants.weight_decay,
            constants.epsilon,
        )
    })
}

/// Multiplies gradients of one device by a factor, and says whether all of them are finite.
///
/// # Errors
/// If they are on several devices, or the device fails.
pub fn unscale(gradients: &[Tensor], factor: f64) -> Result<bool, TchError> {
    let pointers: Vec<_> = gradients
        .iter()
        .map(|tensor| tensor.as_ptr().cast_mut())
        .collect();
    let mut finite = 0;
    // SAFETY: as many pointers as told, to tensors that are alive through the call, which changes
    // what they refer to and keeps none; it writes one number.
    check(unsafe { shim_unscale(pointers.as_ptr(), pointers.len(), factor, &raw mut finite) })?;
    Ok(finite == 1)
}
