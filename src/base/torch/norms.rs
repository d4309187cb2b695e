//! Norms in one pass each way, by the C++ in `csrc/norm.cpp`.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_residual_norm(
        x: *const C_tensor,
        residual: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        eps: f64,
        rows: *const i64,
        seeds: *const u64,
        count: usize,
        threshold: u32,
        found: *mut *mut C_tensor,
        sum: *mut *mut C_tensor,
    ) -> c_int;
    fn shim_rms_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        offset: f64,
        narrow: bool,
        found: *mut *mut C_tensor,
    ) -> c_int;
}

/// A frozen layer norm: its weight and bias, in float32, and what is added to the variance.
#[derive(Debug, Clone, Copy)]
pub struct FrozenNorm<'a> {
    /// (width)
    pub weight: &'a Tensor,
    /// (width)
    pub bias: Option<&'a Tensor>,
    /// Added to the variance.
    pub eps: f64,
}

/// The dropout masks of batches whose rows lie one after the other.
#[derive(Debug, Clone, Copy)]
pub struct MaskedRows<'a> {
    /// Of each batch how many rows it has, and the seed of its mask.
    pub batches: &'a [(i64, u64)],
    /// Nothing is dropped where it is 0.
    pub threshold: u16,
}

impl MaskedRows<'_> {
    /// The rows and seeds of batches that together have the rows of `x`.
    pub(super) fn checked(&self, x: &Tensor) -> Result<(Vec<i64>, Vec<u64>), TchError> {
        let (rows, seeds): (Vec<i64>, Vec<u64>) = self.batches.iter().copied().unzip();
        let width = x.size().last().copied().unwrap_or(1).max(1);
        let all = x.numel() as i64 / width;
        if rows.iter().any(|rows| *rows < 0) || rows.iter().sum::<i64>() != all {
            let message = format!("the norm of batches of {rows:?} of {all} rows");
            return Err(TchError::Torch(message));
        }
        Ok((rows, seeds))
    }
}

impl FrozenNorm<'_> {
    /// `norm(dropout(x) + residual)` in one pass, with the masks of
    /// [`kernels::dropout`](crate::base::torch::kernels::dropout) for batches whose rows lie one after
    /// the other: of each how many it has, and its seed. Nothing is dropped where `threshold` is 0. It is
    /// in float32 where both are, outside of mixed precision, and in bfloat16 where `x` is and layers are
    /// [narrow](crate::base::torch::narrow::is_on).
    ///
    /// `None` where that is not written for what is given: on a GPU, in other kinds, for a width that is
    /// not a multiple of 16, and a norm that is trained.
    ///
    /// # Shapes
    /// `x`, `residual` and what comes back: (…, width).
    ///
    /// # Errors
    /// If the batches do not add up to all rows, or memory runs out.
    pub fn of_residual(
        &self,
        x: &Tensor,
        residual: &Tensor,
        batches: &[(i64, u64)],
        threshold: u16,
    ) -> Result<Option<Tensor>, TchError> {
        let found = self.sum_and_norm(x, residual, batches, threshold, false)?;
        Ok(found.map(|(y, _)| y))
    }

    /// [`FrozenNorm::of_residual`], and the sum itself, `dropout(x) + residual`, in the kind of the
    /// residual: what is added to next.
    ///
    /// # Errors
    /// As [`FrozenNorm::of_residual`].
    pub fn with_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        batches: &[(i64, u64)],
        threshold: u16,
    ) -> Result<Option<(Tensor, Tensor)>, TchError> {
        let found = self.sum_and_norm(x, residual, batches, threshold, true)?;
        Ok(found.and_then(|(y, sum)| Some((y, sum?))))
    }

    /// The norm, and the sum if it is to be kept.
    fn sum_and_norm(
        &self,
        x: &Tensor,
        residual: &Tensor,
        batches: &[(i64, u64)],
        threshold: u16,
        keeps_sum: bool,
    ) -> Result<Option<(Tensor, Option<Tensor>)>, TchError> {
        let (rows, seeds) = MaskedRows { batches, threshold }.checked(x)?;
        let (mut found, mut sum) = (std::ptr::null_mut(), std::ptr::null_mut());
        let to_sum: *mut *mut C_tensor = if keeps_sum {
            &raw mut sum
        } else {
            std::ptr::null_mut()
        };
        // SAFETY: the tensors are alive through the call, and so are both slices, of as many numbers as
        // told, whose rows lie within `x`; null means no bias, and that the sum is not wanted.
        let code = unsafe {
            shim_residual_norm(
                x.as_ptr(),
                residual.as_ptr(),
                self.weight.as_ptr(),
                self.bias.map_or(std::ptr::null(), Tensor::as_ptr),
                self.eps,
                rows.as_ptr(),
                seeds.as_ptr(),
                batches.len(),
                u32::from(threshold),
                &raw mut found,
                to_sum,
            )
        };
        check(code)?;
        // SAFETY: what is not null is a tensor of our own.
        let own = |x: *mut C_tensor| (!x.is_null()).then(|| unsafe { Tensor::from_ptr(x) });
        Ok(own(found).map(|y| (y, own(sum))))
    }
}

/// A frozen division by the root mean square, `x / √(mean(x²) + eps) (weight + offset)` over the last
/// dimension: Zhang and Sennrich, *Root Mean Square Layer Normalization*, 2019.
#[derive(Debug, Clone, Copy)]
pub struct FrozenRmsNorm<'a> {
    /// (width)
    pub weight: &'a Tensor,
    /// Added to the mean of squares.
    pub eps: f64,
    /// Added to the weight.
    pub offset: f64,
}

impl FrozenRmsNorm<'_> {
    /// The norm in one pass, computed in float32: in bfloat16 if it is to be `narrow`, else in the kind of
    /// `x`.
    ///
    /// `None` where that is not written for what is given: on a GPU, in other kinds than float32 and
    /// bfloat16, for a width that is not a multiple of 16, and a weight that is trained.
    ///
    /// # Shapes
    /// `x` and what comes back: (…, width).
    ///
    /// # Errors
    /// If memory runs out.
    pub fn forward(self, x: &Tensor, narrow: bool) -> Result<Option<Tensor>, TchError> {
        let mut found = std::ptr::null_mut();
        // SAFETY: the tensors are alive through the call.
        let code = unsafe {
            shim_rms_norm(
                x.as_ptr(),
                self.weight.as_ptr(),
                self.eps,
                self.offset,
                narrow,
                &raw mut found,
            )
        };
        check(code)?;
        // SAFETY: what is not null is a tensor of our own.
        Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::base::torch::device::Autocast;
    use crate::base::torch::joint_kernels::dropout_of_parts;
    use crate::base::torch::narrow;
    use crate::base::torch::tests::{leaf, values};

    /// The norm of a residual sum, the sum if it is kept, and the gradients by what is summed of a
    /// weighted sum of these.
    fn results(y: &Tensor, kept: Option<&Tensor>, leaves: [&Tensor; 2]) -> Vec<Tensor> {
        let mut results = vec![y];
        results.extend(kept);
        let mut all = Tensor::from(0.0);
        for (at, x) in results.iter().enumerate() {
            let weights = values(&x.size(), 0.3 + at as f64).to_kind(x.kind());
            all += (*x * weights).sum(Kind::Double);
        }
        all.backward();
        let gradients = leaves.map(Tensor::grad);
        let detached = results.iter().map(|x| x.detach());
        let all = detached.chain(gradients);
        all.map(|x| x.to_kind(Kind::Double)).collect()
    }

    /// Compares norms of sums of values and a residual of these kinds with those in float64; misses of
    /// `allowed` of the largest value are.
    fn assert_near_definition([kind, residual_kind]: [Kind; 2], keeps_sum: bool, allowed: f64) {
        for (width, threshold, has_bias) in [(32, 0, true), (384, 6554, true), (80, 6554, false)] {
            let (x, residual) = (values(&[5, 7, width], 0.7), values(&[5, 7, width], 1.1));
            let (weight, bias) = (values(&[width], 1.7) + 2.0, values(&[width], 0.9));
            let bias = has_bias.then_some(bias);
            let (left, right) = (leaf(&x, Kind::Double), leaf(&residual, Kind::Double));
            let mut sum = left.shallow_clone();
            if threshold > 0 {
                let parts = [(14 * width, 11), (21 * width, 13)];
                sum = dropout_of_parts(&left, &parts, threshold).unwrap();
            }
            let sum = sum + &right;
            let y = sum.layer_norm([width], Some(&weight), bias.as_ref(), 1e-5, false);
            let exact = results(&y, keeps_sum.then_some(&sum), [&left, &right]);
            let weight = weight.to_kind(Kind::Float);
            let bias = bias.map(|bias| bias.to_kind(Kind::Float));
            let norm = FrozenNorm {
                weight: &weight,
                bias: bias.as_ref(),
                eps: 1e-5,
            };
            let (left, right) = (leaf(&x, kind), leaf(&residual, residual_kind));
            let batches = [(14, 11), (0, 12), (21, 13)];
            let (y, sum) = if keeps_sum {
                let found = norm.with_sum(&left, &right, &batches, threshold);
                let (y, sum) = found.unwrap().unwrap();
                assert_eq!(sum.kind(), residual_kind);
                (y, Some(sum))
            } else {
                let y = norm.of_residual(&left, &right, &batches, threshold);
                (y.unwrap().unwrap(), None)
            };
            assert_eq!(y.kind(), kind);
            let found = results(&y, sum.as_ref(), [&left, &right]);
            for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                let miss = (found - exact).abs().max().double_value(&[]);
                let largest = exact.abs().max().double_value(&[]);
                assert!(
                    miss < largest * allowed,
                    "width {width}: tensor {at} misses by {miss:e} of {largest}"
                );
            }
        }
    }

    #[test]
    fn a_norm_of_a_residual_sum_and_its_gradients_are_those_of_float64() {
        for keeps_sum in [false, true] {
            assert_near_definition([Kind::Float; 2], keeps_sum, 2e-6);
        }
    }

    #[test]
    fn in_bfloat16_they_are_as_near_as_its_digits_allow() {
        let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
        if narrow::is_on(Device::Cpu) {
            assert_near_definition([Kind::BFloat16; 2], false, 0.02);
            assert_near_definition([Kind::BFloat16; 2], true, 0.02);
            assert_near_definition([Kind::BFloat16, Kind::Float], true, 0.02);
        }
    }

    #[test]
    fn what_the_kernels_do_not_know_is_left_to_libtorch() {
        fn by(weight: &Tensor) -> FrozenNorm<'_> {
            FrozenNorm {
                weight,
                bias: None,
                eps: 1e-5,
            }
        }
        let weight = values(&[32], 1.7).to_kind(Kind::Float);
        let of = |weight: &Tensor, x: &Tensor| {
            let found = by(weight).of_residual(x, x, &[(5, 11)], 6554);
            found.unwrap()
        };
        let x = values(&[5, 32], 0.7).to_kind(Kind::Float);
        assert!(of(&weight, &x).is_some());
        assert!(of(&weight, &x.to_kind(Kind::Double)).is_none());
        assert!(of(&weight.copy().set_requires_grad(true), &x).is_none());
        assert!(of(&weight.narrow(0, 0, 24), &x.narrow(1, 0, 24)).is_none());
        let too_few = by(&weight).of_residual(&x, &x, &[(4, 11)], 6554);
        assert!(too_few.is_err());
        let _narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
        assert!(of(&weight, &x).is_none());
    }
}
