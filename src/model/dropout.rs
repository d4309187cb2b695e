//! Dropout masks from keyed random streams.
//!
//! libtorch has one CPU generator per process, so its own dropout would depend on which client
//! drew before. Here a client's masks depend on its key alone.

use std::cell::RefCell;

use rand::Rng;
use regatta_actors::random::Stream;
use tch::{TchError, Tensor};

use crate::base::torch;

/// The masks of one client's round, drawn in the order of the forward pass. A clone draws those
/// that follow once more.
#[derive(Debug, Clone)]
pub struct Masks {
    stream: RefCell<Stream>,
}

impl Masks {
    /// Masks from a stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream: RefCell::new(stream),
        }
    }

    /// Zeroes each value with probability `p`, rounded to a multiple of 2⁻¹⁶, and scales the rest
    /// by the inverse of the probability to stay, so that the mean is kept exactly.
    ///
    /// # Errors
    /// If the device fails.
    pub fn apply(&self, x: &Tensor, p: f64) -> Result<Tensor, TchError> {
        self.next(p).apply(x)
    }

    /// The next mask, to be applied later.
    pub fn next(&self, p: f64) -> DropoutMask {
        let threshold = (p * 65536.0).round() as u16;
        let seed = match threshold {
            0 => 0,
            _ => self.stream.borrow_mut().next_u64(),
        };
        DropoutMask { seed, threshold }
    }
}

/// One mask: what it drops is a function of the two, and of a value's place. The default drops nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DropoutMask {
    /// Its key.
    pub seed: u64,
    /// The probability to drop a value, times 2¹⁶.
    pub threshold: u16,
}

impl DropoutMask {
    /// See [`Masks::apply`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        if self.threshold == 0 {
            return Ok(x.shallow_clone());
        }
        torch::kernels::dropout(x, self.seed, self.threshold)
    }
}

/// The next mask in training, unless nothing is dropped.
pub(crate) fn next_mask(dropout: f64, masks: Option<&Masks>) -> Option<DropoutMask> {
    let masks = masks.filter(|_| dropout > 0.0);
    masks.map(|masks| masks.next(dropout))
}

/// Dropout in training; nothing when there are no masks, as in evaluation.
///
/// # Errors
/// If the device fails.
pub fn dropout(x: &Tensor, p: f64, masks: Option<&Masks>) -> Result<Tensor, TchError> {
    match masks {
        Some(masks) => masks.apply(x, p),
        None => Ok(x.shallow_clone()),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tch::{Device, Kind};

    use super::*;

    fn masks(seed: u64) -> Masks {
        Masks::new(Stream::seed_from_u64(seed))
    }

    #[test]
    fn keeps_the_mean_and_drops_the_given_share() {
        let ones = Tensor::ones([1000, 100], (Kind::Float, Device::Cpu));
        let dropped = masks(7).apply(&ones, 0.1).unwrap();
        let zeros = dropped.eq(0.0).sum(Kind::Int64).int64_value(&[]);
        assert!(
            (9_600..10_400).contains(&zeros),
            "{zeros} of 100000 dropped at p = 0.1"
        );
        let mean = dropped.mean(Kind::Double).double_value(&[]);
        assert!((mean - 1.0).abs() < 0.005, "mean {mean}");
    }

    #[test]
    fn draws_the_same_masks_from_the_same_key_and_others_from_another() {
        let x = Tensor::ones([64], (Kind::Float, Device::Cpu));
        let draw = |seed| Vec::<f32>::try_from(masks(seed).apply(&x, 0.5).unwrap()).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_gradient_has_the_mask_of_the_forward_pass() {
        let x = Tensor::randn([37, 129], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = masks(3).apply(&x, 0.25).unwrap();
        y.sum(Kind::Float).backward();
        let mask = (y / &x).detach();
        assert!(x.grad().allclose(&mask, 1e-6, 1e-6, false));
    }

    #[test]
    fn a_mask_does_not_depend_on_the_number_of_threads_or_the_kind() {
        let x = Tensor::ones([300, 1000], (Kind::Float, Device::Cpu));
        let draw = |threads| {
            torch::threads::use_threads(threads);
            masks(5).apply(&x, 0.1).unwrap()
        };
        let one = draw(1);
        assert_eq!(draw(2), one);
        for kind in [Kind::BFloat16, Kind::Half] {
            let narrow = masks(5).apply(&x.to_kind(kind), 0.1).unwrap();
            assert_eq!(narrow.kind(), kind);
            assert_eq!(narrow.ne(0.0), one.ne(0.0));
        }
    }

    #[test]
    fn integers_are_refused_with_a_reason() {
        let x = Tensor::ones([4], (Kind::Int64, Device::Cpu));
        let error = masks(1).apply(&x, 0.5).unwrap_err().to_string();
        assert!(error.contains("dropout of Long values"), "{error}");
    }

    #[test]
    fn leaves_the_input_alone_at_zero_probability() {
        let x = Tensor::randn([8], (Kind::Float, Device::Cpu));
        assert_eq!(masks(1).apply(&x, 0.0).unwrap(), x);
    }
}
