//! Linear layers whose frozen weight is held in fewer bits, by the C++ in `csrc/quantised.cpp`.

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::owned;

unsafe extern "C" {
    fn shim_quantised_linear(
        x: *const C_tensor,
        codes: *const C_tensor,
        scales: *const C_tensor,
        added: *const C_tensor,
        bias: *const C_tensor,
        form: i64,
        rows: i64,
        columns: i64,
    ) -> *mut C_tensor;
    fn shim_dequantise(
        codes: *const C_tensor,
        scales: *const C_tensor,
        added: *const C_tensor,
        form: i64,
        rows: i64,
        columns: i64,
        by_operations: bool,
    ) -> *mut C_tensor;
}

/// What the codes of a weight mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum CodeForm {
    /// The values themselves, in bfloat16; there are no scales.
    Bfloat16 = 0,
    /// Whole numbers from −127 to 127, with a scale a row.
    Int8 = 1,
    /// Two codes a byte, the first in the upper half, with a scale for each 64 values of the flattened
    /// weight.
    Nf4 = 2,
}

/// A weight, (rows, columns), as codes.
#[derive(Debug, Clone, Copy)]
pub struct CodedWeight<'a> {
    /// What the codes mean.
    pub form: CodeForm,
    /// The codes, flattened.
    pub codes: &'a Tensor,
    /// What their values are multiplied by, in float32.
    pub scales: Option<&'a Tensor>,
    /// What was added to the weight since, (rows, columns) in float32.
    pub added: Option<&'a Tensor>,
    /// Width of the layer's output.
    pub rows: i64,
    /// Width of the layer's input.
    pub columns: i64,
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

impl CodedWeight<'_> {
    /// `y = x Wᵀ + bias`, or without a bias. The weight is brought to float32 for the product alone,
    /// and once more in the backward pass: autograd keeps the codes. With mixed precision both factors
    /// are then rounded to its kind. By oneDNN where
    /// [`kernels::linear`](crate::base::torch::kernels::linear) would take it.
    ///
    /// # Shapes
    /// `x` (…, columns), `bias` (rows), `y` (…, rows).
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        // SAFETY: the tensors are alive through the call, and null means that there is none; what comes
        // back is null or a tensor of our own.
        unsafe {
            owned(shim_quantised_linear(
                x.as_ptr(),
                self.codes.as_ptr(),
                pointer(self.scales),
                pointer(self.added),
                pointer(bias),
                self.form as i64,
                self.rows,
                self.columns,
            ))
        }
    }

    /// The weight in float32, with what was added to it.
    ///
    /// # Errors
    /// If there are not as many codes or scales as the shape needs, or memory runs out.
    pub fn dense(&self) -> Result<Tensor, TchError> {
        self.dequantised(false)
    }

    /// The weight in float32, without what was added, as devices other than the processor make it.
    #[cfg(test)]
    pub(crate) fn by_operations(&self) -> Result<Tensor, TchError> {
        self.dequantised(true)
    }

    fn dequantised(&self, by_operations: bool) -> Result<Tensor, TchError> {
        // SAFETY: as in `linear`.
        unsafe {
            owned(shim_dequantise(
                self.codes.as_ptr(),
                pointer(self.scales),
                pointer(self.added),
                self.form as i64,
                self.rows,
                self.columns,
                by_operations,
            ))
        }
    }
}
