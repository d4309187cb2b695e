//! S, a structured random orthogonal matrix, and Γ(b), a diagonal of complex numbers.

use tch::Tensor;

use crate::adapter::torch_random::TorchGenerator;
use crate::model::ModelError;

/// S of width `d`, row-major (d, d), in float64: a product of three stages. In each, a block
/// diagonal of SORF blocks, whose sizes are the powers of two in d's binary expansion, largest
/// first, is conjugated by a random permutation. Block k of stage t draws from `seed + 1000 t + k`,
/// the permutation from `seed + 100000 + t`.
#[must_use]
pub fn orthogonal(d: usize, seed: u64) -> Vec<f64> {
    let mut matrix = crate::adapter::sorf::givens::identity(d);
    for stage in 0..3 {
        let order = TorchGenerator::new(seed + 100_000 + stage).permutation(d);
        let blocks = power_of_two_blocks(d, seed + 1000 * stage);
        matrix = apply_stage(&blocks, &order, &matrix, d);
    }
    matrix
}

/// A block `D₁ H D₂ H D₃` (H the normalised Walsh–Hadamard matrix, D random signs) at its offset.
struct Block {
    offset: usize,
    size: usize,
    signs: [Vec<f64>; 3],
}

fn power_of_two_blocks(d: usize, seed: u64) -> Vec<Block> {
    let mut offset = 0;
    let sizes = (0..usize::BITS)
        .rev()
        .map(|bit| 1 << bit)
        .filter(|size| d & size != 0);
    sizes
        .enumerate()
        .map(|(k, size)| {
            let mut generator = TorchGenerator::new(seed + k as u64);
            let signs = [(); 3].map(|()| generator.signs(size));
            let block = Block {
                offset,
                size,
                signs,
            };
            offset += size;
            block
        })
        .collect()
}

/// Multiplies a stage from the left onto a row-major (d, d) matrix.
fn apply_stage(blocks: &[Block], order: &[usize], matrix: &[f64], d: usize) -> Vec<f64> {
    let mut result = vec![0.0; d * d];
    let mut column = vec![0.0; d];
    for j in 0..d {
        for (i, &slot) in order.iter().enumerate() {
            column[slot] = matrix[i * d + j];
        }
        for block in blocks {
            block.apply(&mut column[block.offset..block.offset + block.size]);
        }
        for (i, &slot) in order.iter().enumerate() {
            result[i * d + j] = column[slot];
        }
    }
    result
}

impl Block {
    fn apply(&self, x: &mut [f64]) {
        let [outer, middle, inner] = &self.signs;
        flip(x, inner);
        hadamard(x);
        flip(x, middle);
        hadamard(x);
        flip(x, outer);
    }
}

fn flip(x: &mut [f64], signs: &[f64]) {
    x.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
}

/// The normalised Walsh–Hadamard transform in place; the length is a power of two.
fn hadamard(x: &mut [f64]) {
    let mut half = 1;
    while half < x.len() {
        for chunk in x.chunks_mut(2 * half) {
            let (low, high) = chunk.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let norm = (x.len() as f64).sqrt().recip();
    x.iter_mut().for_each(|x| *x *= norm);
}

/// `Γ(b) B`: row pairs of B as complex numbers, times b.
///
/// # Shapes
/// `b` (d_out, r); `re` and `im` (L, d_out / 2); the result (L, d_out, r).
///
/// # Errors
/// If d_out is odd or the device fails.
pub fn apply_gamma(b: &Tensor, re: &Tensor, im: &Tensor) -> Result<Tensor, ModelError> {
    let (d_out, r) = b.size2()?;
    let layers = re.size()[0];
    let pairs = b.f_view([d_out / 2, 2, r])?;
    let (x, y) = (pairs.f_select(1, 0)?, pairs.f_select(1, 1)?);
    let (re, im) = (re.f_unsqueeze(-1)?, im.f_unsqueeze(-1)?);
    let real = re.f_mul(&x)?.f_sub(&im.f_mul(&y)?)?;
    let imaginary = im.f_mul(&x)?.f_add(&re.f_mul(&y)?)?;
    Ok(Tensor::f_stack(&[real, imaginary], 2)?.f_view([layers, d_out, r])?)
}
