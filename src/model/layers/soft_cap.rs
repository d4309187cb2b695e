//! Soft caps.

use tch::{TchError, Tensor};

/// A soft cap c: values x become `c tanh(x / c)`, which lies between −c and c. As in Bello et al.,
/// *Neural Combinatorial Optimization with Reinforcement Learning*, 2016.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftCap(
    /// c; above 0.
    pub f64,
);

impl SoftCap {
    /// The capped values.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_div_scalar(self.0)?.f_tanh()?.f_mul_scalar(self.0)
    }

    /// The derivative by the values before, `1 − tanh²(x / c)`, of capped ones.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn slope(self, capped: &Tensor) -> Result<Tensor, TchError> {
        let tanh = capped.f_div_scalar(self.0)?;
        tanh.f_mul(&tanh)?.f_neg()?.f_add_scalar(1.0)
    }
}
