//! Backward passes that begin in the middle of a graph, and gradients by hand.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_backward(from: *const C_tensor, gradient: *const C_tensor) -> c_int;
    fn shim_forget_gradients(leaves: *const *mut C_tensor, count: usize) -> c_int;
    fn shim_add_gradient(leaf: *const C_tensor, gradient: *const C_tensor) -> c_int;
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

/// Leaves the tensors without a gradient, at the cost of no operation.
///
/// # Errors
/// If libtorch refuses.
pub fn forget_gradients(leaves: &[&Tensor]) -> Result<(), TchError> {
    let pointers: Vec<_> = leaves.iter().map(|leaf| leaf.as_ptr().cast_mut()).collect();
    // SAFETY: as many pointers as told, to tensors that are alive through the call, which keeps none
    // of them. It changes what tensors refer to, as backward passes do.
    check(unsafe { shim_forget_gradients(pointers.as_ptr(), pointers.len()) })
}

/// Adds to a leaf's gradient, as a backward pass would. A leaf without one takes `gradient` itself,
/// which nothing else may change afterwards.
///
/// # Errors
/// If shape, kind or device differ from the leaf's, or the device fails.
pub fn add_gradient(leaf: &Tensor, gradient: &Tensor) -> Result<(), TchError> {
    // SAFETY: both tensors are alive through the call, which keeps a reference of its own.
    check(unsafe { shim_add_gradient(leaf.as_ptr(), gradient.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn leaf() -> Tensor {
        Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true)
    }

    #[test]
    fn gradients_by_hand_add_up_and_are_forgotten() {
        let leaf = leaf();
        let gradient = || Tensor::from_slice(&[1.0_f32, -0.0, 2.5, 3.0]).view([2, 2]);
        add_gradient(&leaf, &gradient()).unwrap();
        assert_eq!(leaf.grad(), gradient());
        (&leaf * 2.0).sum(Kind::Float).backward();
        add_gradient(&leaf, &gradient()).unwrap();
        assert_eq!(leaf.grad(), gradient() * 2.0 + 2.0);
        forget_gradients(&[&leaf]).unwrap();
        assert!(!leaf.grad().defined());
        forget_gradients(&[&leaf]).unwrap();
    }

    #[test]
    fn a_gradient_of_another_shape_or_kind_is_refused() {
        let flat = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let wide = Tensor::zeros([2, 2], (Kind::Double, Device::Cpu));
        for wrong in [flat, wide] {
            let error = add_gradient(&leaf(), &wrong).unwrap_err().to_string();
            assert!(error.contains("gradient"), "{error}");
        }
    }
}
