//! Gradients that are cut to a norm: Pascanu et al., *On the difficulty of training Recurrent Neural
//! Networks*, 2013, as PyTorch's `clip_grad_norm_` has it.

use tch::Tensor;

use crate::model::ModelError;

/// Added to the norm that is divided by, as PyTorch does.
const EPSILON: f64 = 1e-6;

/// Scales the gradients of trained tensors so that their norm, taken over all of them, is at most
/// `most`. Nothing is asked of the device.
///
/// # Errors
/// If libtorch fails.
pub(crate) fn to_norm<'a>(
    leaves: impl Iterator<Item = &'a Tensor>,
    most: f64,
) -> Result<(), ModelError> {
    let gradients = leaves.map(Tensor::f_grad).collect::<Result<Vec<_>, _>>()?;
    let gradients: Vec<_> = gradients.into_iter().filter(Tensor::defined).collect();
    if gradients.is_empty() {
        return Ok(());
    }
    let norms = gradients.iter().map(Tensor::f_norm);
    let norms = norms.collect::<Result<Vec<_>, _>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
    let scale = norm
        .f_add_scalar(EPSILON)?
        .f_reciprocal()?
        .f_mul_scalar(most)?
        .f_clamp_max(1.0)?;
    for mut gradient in gradients {
        let _ = gradient.f_mul_(&scale)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// A tensor whose gradient is these numbers.
    fn leaf(gradient: &[f32]) -> Tensor {
        let leaf = Tensor::zeros([gradient.len() as i64], (Kind::Float, Device::Cpu));
        let leaf = leaf.set_requires_grad(true);
        (&leaf * Tensor::from_slice(gradient))
            .sum(Kind::Float)
            .backward();
        leaf
    }

    fn clipped(most: f64) -> Vec<Vec<f32>> {
        let leaves = [
            leaf(&[3.0, 0.0]),
            leaf(&[4.0]),
            Tensor::zeros([1], (Kind::Float, Device::Cpu)),
        ];
        to_norm(leaves.iter(), most).unwrap();
        let gradient = |leaf: &Tensor| Vec::try_from(&leaf.grad()).unwrap();
        leaves[..2].iter().map(gradient).collect()
    }

    #[test]
    fn gradients_keep_their_direction_and_have_the_largest_norm_together() {
        let [a, b] = &clipped(1.0)[..] else {
            panic!("two gradients");
        };
        for (got, want) in a.iter().chain(b).zip([0.6, 0.0, 0.8]) {
            assert!((got - want).abs() < 1e-6, "{got} for {want}");
        }
    }

    #[test]
    fn gradients_within_the_norm_keep_every_bit() {
        assert_eq!(clipped(5.1), [vec![3.0, 0.0], vec![4.0]]);
    }
}
