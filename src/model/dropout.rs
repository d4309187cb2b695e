//! Dropout masks from keyed random streams.
//!
//! libtorch has one CPU generator per process, so its own dropout would depend on which client
//! drew before. Here a client's masks depend on its key alone.

use std::cell::RefCell;

use rand::Rng;
use regatta_actors::random::Stream;
use tch::{TchError, Tensor};

/// The masks of one client's round, drawn in the order of the forward pass.
#[derive(Debug)]
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
    /// When the device fails.
    pub fn apply(&self, x: &Tensor, p: f64) -> Result<Tensor, TchError> {
        let threshold = (p * 65536.0).round() as u16;
        if threshold == 0 {
            return Ok(x.shallow_clone());
        }
        let mask = self.draw(x.numel(), threshold);
        let mask = Tensor::f_from_slice(&mask)?.f_reshape(x.size())?;
        x.f_mul(&mask.f_to_device(x.device())?.f_to_kind(x.kind())?)
    }

    fn draw(&self, len: usize, threshold: u16) -> Vec<f32> {
        let keep = 1.0 / (1.0 - f32::from(threshold) / 65536.0);
        let mut bytes = vec![0_u8; 2 * len];
        self.stream.borrow_mut().fill_bytes(&mut bytes);
        let draws = bytes.as_chunks::<2>().0.iter();
        draws
            .map(|&b| {
                if u16::from_le_bytes(b) < threshold {
                    0.0
                } else {
                    keep
                }
            })
            .collect()
    }
}

/// Dropout in training; nothing when there are no masks, as in evaluation.
///
/// # Errors
/// When the device fails.
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
    fn leaves_the_input_alone_at_zero_probability() {
        let x = Tensor::randn([8], (Kind::Float, Device::Cpu));
        assert_eq!(masks(1).apply(&x, 0.0).unwrap(), x);
    }
}
