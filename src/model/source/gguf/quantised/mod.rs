//! Quantised weights to float32, by the formulas of ggml's reference (`ggml-quants.c`), bit for
//! bit: each product and sum is rounded to float32, in the reference's order.
//!
//! | file | holds |
//! |---|---|
//! | `blocks` | blocks of 32 values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 |
//! | `super_blocks` | blocks of 256 values with scales that are quantised too: Q4_K, Q5_K, Q6_K |

mod blocks;
mod super_blocks;
#[cfg(test)]
mod tests;

use half::{bf16, f16};

use crate::model::source::gguf::tensor_type::TensorType;

/// The values of all whole blocks in `bytes`. A block that is cut short is left out.
#[must_use]
pub fn dequantise(kind: TensorType, bytes: &[u8]) -> Vec<f32> {
    match kind {
        TensorType::F32 => each(bytes, |&b, out: &mut [f32; 1]| {
            out[0] = f32::from_le_bytes(b)
        }),
        TensorType::F16 => each(bytes, |b: &[u8; 2], out: &mut [f32; 1]| {
            out[0] = f16_at(b, 0)
        }),
        TensorType::Bf16 => each(bytes, |&b, out: &mut [f32; 1]| {
            out[0] = bf16::from_le_bytes(b).to_f32();
        }),
        TensorType::Q4_0 => each(bytes, blocks::q4_0),
        TensorType::Q4_1 => each(bytes, blocks::q4_1),
        TensorType::Q5_0 => each(bytes, blocks::q5_0),
        TensorType::Q5_1 => each(bytes, blocks::q5_1),
        TensorType::Q8_0 => each(bytes, blocks::q8_0),
        TensorType::Q4K => each(bytes, super_blocks::q4_k),
        TensorType::Q5K => each(bytes, super_blocks::q5_k),
        TensorType::Q6K => each(bytes, super_blocks::q6_k),
    }
}

/// Applies the formula of a block to all of them.
fn each<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    formula: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) -> Vec<f32> {
    let blocks = bytes.as_chunks::<BYTES>().0;
    let mut values = vec![0.0; blocks.len() * VALUES];
    for (block, out) in blocks.iter().zip(values.as_chunks_mut::<VALUES>().0) {
        formula(block, out);
    }
    values
}

/// The float16 at a place in a block.
fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
