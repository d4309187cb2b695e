//! Layers in bfloat16 on a CPU with AMX, by the C++ in `csrc/narrow.cpp`: weights are packed once,
//! activations stay in bfloat16 from one layer to the next, and sums and statistics are in float32.

use std::ffi::c_int;

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::{check, owned};

unsafe extern "C" {
    fn shim_narrows() -> bool;
    fn shim_pack_weight(weight: *const C_tensor, found: *mut *mut C_tensor) -> c_int;
    fn shim_narrow_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        turned: *const C_tensor,
        bias: *const C_tensor,
        inputs: i64,
        outputs: i64,
    ) -> *mut C_tensor;
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

    /// `y = x Wᵀ + bias` in bfloat16.
    ///
    /// # Shapes
    /// `x` (…, d_in), `bias` (d_out) in float32 and frozen, `y` (…, d_out).
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        // SAFETY: the tensors are alive through the call, and null means no bias; what comes back is
        // null or a tensor of our own.
        unsafe {
            owned(shim_narrow_linear(
                x.as_ptr(),
                self.forward.as_ptr(),
                self.backward.as_ptr(),
                bias.map_or(std::ptr::null(), Tensor::as_ptr),
                self.inputs,
                self.outputs,
            ))
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

#[cfg(test)]
pub(super) mod tests {
    use tch::Kind;

    use super::*;
    use crate::base::torch::tests::{leaf, values};
    use crate::base::torch::threads::use_threads;

    /// A weighted sum's gradients by the leaves, and its terms.
    pub(in crate::base::torch) fn results(y: &Tensor, leaves: &[&Tensor]) -> Vec<Tensor> {
        (y * values(&y.size(), 0.3).to_kind(y.kind()))
            .sum(Kind::Double)
            .backward();
        let gradients = leaves.iter().map(|leaf| leaf.grad());
        let all = [y.detach()].into_iter().chain(gradients);
        all.map(|x| x.to_kind(Kind::Double)).collect()
    }

    /// Rounded to bfloat16, values miss by up to 2⁻⁹ of the largest, and several times that where they are
    /// sums of such.
    pub(in crate::base::torch) fn assert_near(found: &[Tensor], exact: &[Tensor], what: &str) {
        for (at, (found, exact)) in found.iter().zip(exact).enumerate() {
            let miss = (found - exact).abs().max().double_value(&[]);
            let largest = exact.abs().max().double_value(&[]);
            assert!(
                miss < largest / 50.0,
                "{what}: tensor {at} misses by {miss:e} of {largest}"
            );
        }
    }

    #[test]
    fn a_packed_layer_and_its_gradient_are_those_of_float64() {
        // Rows, outputs and inputs below, at and above what is computed at a time.
        for [rows, d_out, d_in] in [
            [1, 32, 32],
            [71, 96, 64],
            [64, 64, 160],
            [300, 32, 128],
            [5, 160, 32],
            [290, 96, 1056],
        ] {
            let (x, weight) = (values(&[rows, d_in], 0.7), values(&[d_out, d_in], 1.3));
            let bias = values(&[d_out], 2.1);
            let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
                assert!(!is_on(Device::Cpu));
                return;
            };
            let exact = leaf(&x, Kind::Double);
            let y = exact.linear(&weight, Some(&bias));
            let exact = results(&y, &[&exact]);
            let narrow = leaf(&x, Kind::BFloat16);
            let y = packed.linear(&narrow, Some(&bias.to_kind(Kind::Float)));
            let found = results(&y.unwrap(), &[&narrow]);
            assert_near(&found, &exact, &format!("{rows} rows of {d_in} to {d_out}"));
        }
        let odd = values(&[32, 24], 0.7).to_kind(Kind::Float);
        assert!(PackedWeight::of(&odd).unwrap().is_none());
    }

    #[test]
    fn a_padded_weight_makes_zeros_behind_what_its_own_rows_make_and_takes_no_notice_of_them() {
        let (x, weight) = (values(&[5, 64], 0.7), values(&[45, 64], 1.3));
        let Some(packed) = PackedWeight::padded(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let narrow = x.to_kind(Kind::BFloat16);
        let y = packed.linear(&narrow, None).unwrap();
        assert_eq!(y.size(), [5, 64]);
        assert!(y.narrow(1, 45, 19).abs().max().double_value(&[]) == 0.0);
        let back = packed.transposed().linear(&y, None).unwrap();
        let exact = x.matmul(&weight.tr());
        let found = [y.narrow(1, 0, 45), back].map(|it| it.to_kind(Kind::Double));
        assert_near(&found, &[exact.copy(), exact.matmul(&weight)], "padded");
        let narrower = values(&[45, 24], 1.3).to_kind(Kind::Float);
        assert!(PackedWeight::padded(&narrower).unwrap().is_none());
    }

    #[test]
    fn a_value_is_the_same_whichever_threads_share_the_rows_or_the_outputs() {
        let (x, weight) = (values(&[300, 1056], 0.7), values(&[64, 1056], 1.3));
        let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let x = x.to_kind(Kind::BFloat16);
        // Of 300 rows, one and two threads have parts enough; eight share the outputs.
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            packed.linear(&x, None).unwrap()
        });
        assert!(found.iter().all(|y| *y == found[0]));
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_rows_are_beside_it() {
        let (x, weight) = (values(&[90, 64], 0.7), values(&[96, 64], 1.3));
        let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let of = |x: &Tensor| packed.linear(x, None).unwrap();
        let together = of(&x);
        for row in [0, 31, 32, 89] {
            let alone = of(&x.narrow(0, row, 1));
            assert_eq!(alone, together.narrow(0, row, 1), "row {row}");
        }
    }
}
