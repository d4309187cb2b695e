//! Backward passes that begin in the middle of a graph.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_backward(from: *const C_tensor, gradient: *const C_tensor) -> c_int;
}

/// Adds to the gradients of the leaves that a tensor was computed from, given the gradient by the
/// tensor itself, of the same shape.
///
/// # Errors
/// If nothing that it was computed from gathers gradients, or memory runs out.
pub fn backward(from: &Tensor, gradient: &Tensor) -> Result<(), TchError> {
    // SAFETY: both tensors are alive through the call, which keeps neither.
    check(unsafe { shim_backward(from.as_ptr(), gradient.as_ptr()) })
}
