//! NF4, the 4-bit NormalFloat of Dettmers et al., *QLoRA: Efficient Finetuning of Quantized LLMs*, 2023,
//! as bitsandbytes writes it (`dQuantizeNF4` in its `csrc/kernels.cu`), without quantising the scales
//! once more.

use crate::base::torch::threads::in_parallel;

/// Values that share a scale.
pub const BLOCK: usize = 64;

/// The values above which each code but the first is taken: those half-way between two codes' values,
/// where the lower code is taken.
const THRESHOLDS: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_27,
    -0.339_679_43,
    -0.234_607_4,
    -0.137_911_73,
    -0.045_525_018,
    0.039_790_15,
    0.120_255_25,
    0.203_521_25,
    0.292_013_77,
    0.389_312_54,
    0.501_663_42,
    0.642_786_9,
    0.861_478_42,
];

/// Blocks that a core is given at a time.
const BLOCKS_AT_ONCE: usize = 1 << 14;

/// Codes, two a byte, the first in the upper half, and each block's largest absolute value, by which the
/// values of its codes are multiplied. An odd number of values is followed by the code of 0.
pub(super) fn quantise(values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let parts = values.chunks(BLOCKS_AT_ONCE * BLOCK).collect();
    let done = in_parallel(parts, |part: &[f32]| {
        part.chunks(BLOCK).map(quantise_block).collect::<Vec<_>>()
    });
    let mut codes = Vec::with_capacity(values.len().div_ceil(2));
    let mut scales = Vec::with_capacity(values.len().div_ceil(BLOCK));
    for (block, scale) in done.into_iter().flatten() {
        codes.extend_from_slice(&block);
        scales.push(scale);
    }
    codes.truncate(values.len().div_ceil(2));
    (codes, scales)
}

/// The codes of up to 64 values, and the largest absolute value. Where all values are 0, so are those of
/// the codes; bitsandbytes has −0 there, for it divides by 0.
fn quantise_block(values: &[f32]) -> ([u8; BLOCK / 2], f32) {
    let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let inverse = 1.0 / largest;
    let mut codes = [code(0.0) << 4 | code(0.0); BLOCK / 2];
    if largest == 0.0 {
        return (codes, largest);
    }
    let scaled = |x: f32| match inverse.is_finite() {
        true => x * inverse,
        // Of numbers so small there is no inverse.
        false => (f64::from(x) / f64::from(largest)) as f32,
    };
    for (pair, byte) in values.chunks(2).zip(&mut codes) {
        let second = pair.get(1).map_or(0.0, |x| scaled(*x));
        *byte = code(scaled(pair[0])) << 4 | code(second);
    }
    (codes, largest)
}

/// The code whose value is nearest to a number from −1 to 1.
fn code(x: f32) -> u8 {
    THRESHOLDS.iter().map(|least| u8::from(x > *least)).sum()
}
