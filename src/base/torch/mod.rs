//! What libtorch can do and tch does not offer, mostly through the C++ in `csrc/`.

pub mod adamw;
pub mod autograd;
pub mod cross_entropy;
pub mod device;
pub mod error;
pub mod info;
pub mod joint_kernels;
pub mod kernels;
pub mod likeliest;
pub mod low_rank;
pub mod narrow;
pub mod narrow_layers;
pub mod narrow_sequential;
pub mod norms;
pub mod quantised;
pub mod shared;
pub mod threads;

#[cfg(test)]
mod gpu_tests;
#[cfg(test)]
mod instructions_tests;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, c_char, c_int};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn shim_err() -> *const c_char;
}

fn check(code: c_int) -> Result<(), TchError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a NUL-terminated string of this thread's own, alive until this
    // thread's next call of the shim; it is copied before that.
    let message = unsafe { CStr::from_ptr(shim_err()) };
    Err(TchError::Torch(message.to_string_lossy().into_owned()))
}

/// The tensor that a call of the shim gave, or why it gave none.
///
/// # Safety
/// `tensor` is null, or owned by no one else.
unsafe fn owned(tensor: *mut C_tensor) -> Result<Tensor, TchError> {
    if tensor.is_null() {
        check(-1)?;
    }
    // SAFETY: not null, and by the caller's word owned by nobody else.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}
