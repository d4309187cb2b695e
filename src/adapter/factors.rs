//! Thin factors of weight updates, batched over layers of equal shape.

use tch::{Kind, Tensor};

use crate::model::ModelError;

/// A product `left · right` for each of L layers, in float64.
#[derive(Debug)]
pub struct Factors {
    /// (L, d_out, rank).
    pub left: Tensor,
    /// (L, rank, d_in).
    pub right: Tensor,
}

impl Factors {
    /// The dense product, (L, d_out, d_in).
    ///
    /// # Errors
    /// If memory runs out or the device fails.
    pub fn product(&self) -> Result<Tensor, ModelError> {
        Ok(self.left.f_matmul(&self.right)?)
    }

    /// The same product for N layers at a time, in order.
    ///
    /// # Errors
    /// If N is not positive.
    pub fn split(&self, layers: i64) -> Result<impl Iterator<Item = Self> + use<>, ModelError> {
        let parts = |factor: &Tensor| factor.f_split(layers, 0).map(Vec::into_iter);
        let pairs = parts(&self.left)?.zip(parts(&self.right)?);
        Ok(pairs.map(|(left, right)| Self { left, right }))
    }

    /// Factors of the difference, whose rank is the sum of the two.
    ///
    /// # Errors
    /// If memory runs out or the device fails.
    pub fn minus(&self, other: &Self) -> Result<Self, ModelError> {
        Ok(Self {
            left: Tensor::f_cat(&[&self.left, &other.left.f_neg()?], 2)?,
            right: Tensor::f_cat(&[&self.right, &other.right], 1)?,
        })
    }

    /// The squared Frobenius norm over all layers together, without the dense product:
    /// `‖U V‖² = tr((UᵀU)(V Vᵀ))`. Where factors nearly cancel, what is left is known to about
    /// 1e-8 of their norm, the square root of float64's precision.
    ///
    /// # Errors
    /// If memory runs out or the device fails.
    pub fn squared_norm(&self) -> Result<f64, ModelError> {
        let rank = self.left.size()[2];
        let (rows, columns) = (self.left.size()[1], self.right.size()[2]);
        let sum = |product: Tensor| product.f_sum(Kind::Double)?.f_double_value(&[]);
        if rank * (rows + columns) > rows * columns {
            let dense = self.product()?;
            return Ok(sum(dense.f_mul(&dense)?)?);
        }
        let gram_left = self.left.f_transpose(1, 2)?.f_matmul(&self.left)?;
        let gram_right = self.right.f_matmul(&self.right.f_transpose(1, 2)?)?;
        let squares = sum(gram_left.f_mul(&gram_right)?)?;
        // `max` would make a number of NaN.
        Ok(if squares < 0.0 { 0.0 } else { squares })
    }

    /// The number of columns of `left`, which bounds the product's rank.
    #[must_use]
    pub fn rank(&self) -> i64 {
        self.left.size()[2]
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn random(rank: i64) -> Factors {
        let draw = |shape: [i64; 3]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
        Factors {
            left: draw([3, 10, rank]),
            right: draw([3, rank, 14]),
        }
    }

    #[test]
    fn norm_from_factors_equals_the_norm_of_the_product() {
        for rank in [1, 3, 20] {
            let factors = random(rank);
            let dense = factors.product().unwrap();
            let expected = (&dense * &dense).sum(Kind::Double).double_value(&[]);
            let got = factors.squared_norm().unwrap();
            assert!(
                (got - expected).abs() < 1e-10 * expected,
                "rank {rank}: {got} {expected}"
            );
        }
    }

    #[test]
    fn the_norm_of_what_is_no_number_is_none() {
        for rank in [1, 20] {
            let factors = random(rank);
            let _ = factors.left.get(0).get(0).fill_(f64::NAN);
            assert!(factors.squared_norm().unwrap().is_nan(), "rank {rank}");
        }
    }

    #[test]
    fn difference_multiplies_out_to_the_difference() {
        let (a, b) = (random(2), random(5));
        let gap =
            a.minus(&b).unwrap().product().unwrap() - (a.product().unwrap() - b.product().unwrap());
        assert!(gap.abs().max().double_value(&[]) < 1e-12);
    }
}
