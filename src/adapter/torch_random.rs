//! The draws of torch's CPU generator, without its global state.
//!
//! PEFT makes VeRA's projection, and upstream its SORF matrices, from `torch.Generator` with a
//! seed; to load each other's adapters, ours must be the same bit for bit. torch's CPU generator
//! is the 32-bit Mersenne Twister (Matsumoto & Nishimura, 1998), of which each draw here takes one
//! number, as torch's `uniform_`, `randint` and `randperm` do.

use rand_mt::Mt;

/// torch's CPU generator after `manual_seed(seed)`.
pub struct TorchGenerator(Mt);

impl TorchGenerator {
    /// The generator of that seed; torch uses the seed's low 32 bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mt::new(seed as u32))
    }

    /// `torch.empty(len).uniform_(from, to)` in float32.
    pub fn uniform(&mut self, from: f32, to: f32, len: usize) -> Vec<f32> {
        let draw = || {
            let bits = self.0.next_u32() & ((1 << 24) - 1);
            // torch's kernel is compiled to fused multiply-adds, which round once.
            (bits as f32 / (1_u32 << 24) as f32).mul_add(to - from, from)
        };
        std::iter::repeat_with(draw).take(len).collect()
    }

    /// `2 * torch.randint(0, 2, (len,)) - 1`.
    pub fn signs(&mut self, len: usize) -> Vec<f64> {
        let draw = || {
            if self.0.next_u32() % 2 == 1 {
                1.0
            } else {
                -1.0
            }
        };
        std::iter::repeat_with(draw).take(len).collect()
    }

    /// `torch.randperm(len)`.
    pub fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in 0..len.saturating_sub(1) {
            let j = i + self.0.next_u32() as usize % (len - i);
            order.swap(i, j);
        }
        order
    }
}
