//! The kind of number that matrix products use, and loss scaling where its range is small.

use tch::{Device, Kind, Tensor};

use crate::base::torch;
use crate::base::torch::device::Autocast;
use crate::model::ModelError;
use crate::train::settings::Precision;

/// How a device computes: where, and in which kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compute {
    /// The device.
    pub device: Device,
    /// `Kind::Float`, or `Kind::BFloat16` or `Kind::Half` for mixed precision.
    pub kind: Kind,
}

impl Compute {
    /// As a plan has it for a device; [`Precision::Auto`], which a plan decides by its GPUs, is
    /// float32.
    #[must_use]
    pub fn of(precision: Precision, device: Device) -> Self {
        let kind = match precision {
            Precision::Auto | Precision::Float32 => Kind::Float,
            Precision::Bfloat16 => Kind::BFloat16,
            Precision::Float16 => Kind::Half,
        };
        Self { device, kind }
    }

    /// Says how a GPU is to compute, for the whole process: deterministically, since a run can be
    /// repeated, and float32 as float32 without TF32, since what is narrower is asked for by
    /// `--precision`. A CPU needs no telling.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn settle(&self) -> Result<(), ModelError> {
        if let Device::Cuda(_) = self.device {
            torch::device::allow_tf32(false)?;
            torch::device::deterministic(true)?;
        }
        Ok(())
    }

    /// Mixed precision for as long as the guard lives; none for float32.
    ///
    /// # Errors
    /// If the device does not know the kind.
    pub fn autocast(&self) -> Result<Option<Autocast>, ModelError> {
        match self.kind {
            Kind::Float => Ok(None),
            kind => Ok(Some(Autocast::enter(self.device, kind)?)),
        }
    }
}

/// Dynamic loss scaling for float16 (Micikevicius et al., *Mixed Precision Training*, 2018), with
/// the constants that PyTorch's `GradScaler` has but the first scale.
#[derive(Debug, Clone, PartialEq)]
pub struct LossScale {
    scale: f64,
    good_steps: u32,
}

impl LossScale {
    /// Of a client's round. PyTorch begins at 2¹⁶ and may skip a few steps until it fits, which is
    /// nothing in a long training, and all of it in a round of ten steps.
    const START: f64 = 8192.0;
    const GROW_AFTER: u32 = 2000;

    /// A scale for that kind; `None` where the gradients' range suffices without.
    #[must_use]
    pub fn for_kind(kind: Kind) -> Option<Self> {
        (kind == Kind::Half).then_some(Self {
            scale: Self::START,
            good_steps: 0,
        })
    }

    /// The loss times the scale.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn apply(&self, loss: &Tensor) -> Result<Tensor, ModelError> {
        Ok(loss.f_mul_scalar(self.scale)?)
    }

    /// Divides the gradients by the scale; false when one of them is not finite, in which case the
    /// step is to be skipped, and the next scale is half of this one. The device does all of them in
    /// one operation, and is asked once.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn unscale<'a>(
        &mut self,
        leaves: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<bool, ModelError> {
        let gradients = leaves.into_iter().map(Tensor::f_grad);
        let gradients = gradients.collect::<Result<Vec<_>, _>>()?;
        let gradients: Vec<_> = gradients.into_iter().filter(Tensor::defined).collect();
        let finite = torch::adamw::unscale(&gradients, self.scale.recip())?;
        self.good_steps = if finite { self.good_steps + 1 } else { 0 };
        if !finite {
            self.scale /= 2.0;
        } else if self.good_steps == Self::GROW_AFTER {
            (self.scale, self.good_steps) = (self.scale * 2.0, 0);
        }
        Ok(finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_skips_the_step_and_halves_the_scale() {
        let mut scale = LossScale::for_kind(Kind::Half).unwrap();
        let leaf = Tensor::from_slice(&[1.0_f32]).set_requires_grad(true);
        let loss = scale.apply(&(&leaf * 3.0).sum(Kind::Float)).unwrap();
        loss.backward();
        assert!(scale.unscale([&leaf]).unwrap());
        assert_eq!(leaf.grad().double_value(&[0]), 3.0);
        (&leaf * f64::INFINITY).sum(Kind::Float).backward();
        assert!(!scale.unscale([&leaf]).unwrap());
        assert_eq!(scale.scale, LossScale::START / 2.0);
    }

    #[test]
    fn all_gradients_are_divided_and_one_that_is_not_finite_is_found() {
        for (second, sound) in [
            (2.0_f32, true),
            (f32::NAN, false),
            (f32::NEG_INFINITY, false),
        ] {
            let mut scale = LossScale::for_kind(Kind::Half).unwrap();
            let leaves =
                [1.0_f32, 2.0].map(|x| Tensor::from_slice(&[x, x]).set_requires_grad(true));
            let untouched = Tensor::from_slice(&[1.0_f32]).set_requires_grad(true);
            scale
                .apply(&(&leaves[0] * 3.0).sum(Kind::Float))
                .unwrap()
                .backward();
            (&leaves[1] * f64::from(second)).sum(Kind::Float).backward();
            let all = leaves.iter().chain([&untouched]);
            assert_eq!(scale.unscale(all).unwrap(), sound);
            assert_eq!(leaves[0].grad().double_value(&[1]), 3.0);
            assert!(!untouched.grad().defined());
        }
        let mut scale = LossScale::for_kind(Kind::Half).unwrap();
        assert!(scale.unscale([]).unwrap(), "nothing is not finite");
    }

    #[test]
    fn one_precision_fits_all_gpus_of_a_run() {
        for (capabilities, precision) in [
            (&[][..], Precision::Float32),
            (&[(9, 0)], Precision::Bfloat16),
            (&[(8, 0), (12, 0)], Precision::Bfloat16),
            (&[(7, 5)], Precision::Float16),
            (&[(9, 0), (7, 5)], Precision::Float16),
        ] {
            let found = Precision::for_capabilities(capabilities.iter().copied());
            assert_eq!(found, precision, "{capabilities:?}");
        }
    }

    #[test]
    fn only_float16_needs_a_scale() {
        assert_eq!(LossScale::for_kind(Kind::BFloat16), None);
        assert_eq!(LossScale::for_kind(Kind::Float), None);
    }
}
