//! Thin factors of weight updates, batched over layers of equal shape.

use tch::{Kind, Tensor};

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
    pub fn product(&self) -> Tensor {
        self.left.matmul(&self.right)
    }

    /// The same product for N layers at a time, in order.
    pub fn split(&self, layers: i64) -> impl Iterator<Item = Self> + use<> {
        let parts = |factor: &Tensor| factor.split(layers, 0).into_iter();
        let pairs = parts(&self.left).zip(parts(&self.right));
        pairs.map(|(left, right)| Self { left, right })
    }

    /// Factors of the difference, whose rank is the sum of the two.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            left: Tensor::cat(&[&self.left, &(-&other.left)], 2),
            right: Tensor::cat(&[&self.right, &other.right], 1),
        }
    }

    /// The squared Frobenius norm over all layers together, without the dense product:
    /// `‖U V‖² = tr((UᵀU)(V Vᵀ))`. Where factors nearly cancel, what is left is known to about
    /// 1e-8 of their norm, the square root of float64's precision.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        let rank = self.left.size()[2];
        let (rows, columns) = (self.left.size()[1], self.right.size()[2]);
        if rank * (rows + columns) > rows * columns {
            let dense = self.product();
            return (&dense * &dense).sum(Kind::Double).double_value(&[]);
        }
        let gram_left = self.left.transpose(1, 2).matmul(&self.left);
        let gram_right = self.right.matmul(&self.right.transpose(1, 2));
        let squares = (gram_left * gram_right).sum(Kind::Double).double_value(&[]);
        // `max` would make a number of NaN.
        if squares < 0.0 { 0.0 } else { squares }
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
            let dense = factors.product();
            let expected = (&dense * &dense).sum(Kind::Double).double_value(&[]);
            let got = factors.squared_norm();
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
            assert!(factors.squared_norm().is_nan(), "rank {rank}");
        }
    }

    #[test]
    fn difference_multiplies_out_to_the_difference() {
        let (a, b) = (random(2), random(5));
        let gap = a.minus(&b).product() - (a.product() - b.product());
        assert!(gap.abs().max().double_value(&[]) < 1e-12);
    }
}
