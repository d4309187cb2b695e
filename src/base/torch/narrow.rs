//! Layers in bfloat16 on a CPU with AMX, by the C++ in `csrc/narrow.cpp`: weights are packed once,
//! activations stay in bfloat16 from one layer to the next, and sums and statistics are in float32.

use std::ffi::c_int;

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_narrows() -> bool;
    fn shim_pack_weight(weight: *const C_tensor, found: *mut *mut C_tensor) -> c_int;
}

/// Whether layers on this device are computed here: on a CPU with AMX, while this thread's mixed
/// precision is bfloat16.
#[must_use]
pub fn is_on(device: Device) -> bool {
    // SAFETY: reads what the processor can do and this thread's autocast state.
    device == Device::Cpu && unsafe { shim_narrows() }
}

/// Inputs and outputs are multiplied by so many at a time.
const PANEL: i64 = 32;

/// A frozen weight in bfloat16, in the order that AMX loads it in, and its transpose for the backward
/// pass.
#[derive(Debug)]
pub struct PackedWeight {
    pub(super) forward: Tensor,
    pub(super) backward: Tensor,
    pub(super) outputs: i64,
    pub(super) inputs: i64,
}

impl PackedWeight {
    /// Packs a weight of (d_out, d_in) in float32, however it lies. `None` where the processor has no
    /// AMX, or a width is not a multiple of 32.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn of(weight: &Tensor) -> Result<Option<Self>, TchError> {
        match weight.size2()? {
            (outputs, _) if outputs % PANEL != 0 => Ok(None),
            _ => Self::padded(weight),
        }
    }

    /// Packs a weight of (d_out, d_in) in float32 as one with rows of zeros behind its own, up to a
    /// multiple of 32: what it makes of inputs has as many zeros. `None` where the processor has no AMX,
    /// or d_in is not a multiple of 32.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn padded(weight: &Tensor) -> Result<Option<Self>, TchError> {
        let (outputs, inputs) = weight.size2()?;
        if inputs % PANEL != 0 {
            return Ok(None);
        }
        let both = (packed(weight)?, packed(&weight.f_transpose(0, 1)?)?);
        let (Some(forward), Some(backward)) = both else {
            return Ok(None);
        };
        Ok(Some(Self {
            forward,
            backward,
            outputs: (outputs + PANEL - 1) / PANEL * PANEL,
            inputs,
        }))
    }

    /// The transpose, which shares the memory.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let Self {
            forward, backward, ..
        } = self.clone();
        Self {
            forward: backward,
            backward: forward,
            outputs: self.inputs,
            inputs: self.outputs,
        }
    }
}

/// Shares the memory.
impl Clone for PackedWeight {
    fn clone(&self) -> Self {
        Self {
            forward: self.forward.shallow_clone(),
            backward: self.backward.shallow_clone(),
            ..*self
        }
    }
}

fn packed(weight: &Tensor) -> Result<Option<Tensor>, TchError> {
    let mut found = std::ptr::null_mut();
    // SAFETY: the tensor is alive through the call.
    check(unsafe { shim_pack_weight(weight.as_ptr(), &raw mut found) })?;
    // SAFETY: what is not null is a tensor of our own.
    Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
}
