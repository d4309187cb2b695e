//! Blocks of 256 values, in sub-blocks whose scales are quantised too.

use super::f16_at;

/// `d` (2 bytes), `m` (2), scales and least values of six bits (12), nibbles (128):
/// `d scale q - m least`, for eight sub-blocks of 32.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let sub_blocks = out.as_chunks_mut::<32>().0;
    for (index, values) in sub_blocks.iter_mut().enumerate() {
        let (scale, least) = scale_and_least(block, index);
        for (value, q) in values.iter_mut().zip(nibbles_of(&block[16..], index)) {
            *value = scale * f32::from(q) - least;
        }
    }
}

/// As [`q4_k`], with the fifth bits (32 bytes) before the nibbles: bit `i` of a byte belongs to
/// sub-block `i`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let sub_blocks = out.as_chunks_mut::<32>().0;
    for (index, values) in sub_blocks.iter_mut().enumerate() {
        let (scale, least) = scale_and_least(block, index);
        let numbers = nibbles_of(&block[48..], index).zip(&block[16..48]);
        for (value, (low, bits)) in values.iter_mut().zip(numbers) {
            let q = low | (((bits >> index) & 1) << 4);
            *value = scale * f32::from(q) - least;
        }
    }
}

/// Low nibbles (128 bytes), upper bits (64), signed scales (16), `d` (2): `d scale (q - 32)`, for
/// sixteen sub-blocks of 16.
///
/// The two halves of the block are alike. In one, values 0 to 31 and 64 to 95 are the low and
/// high nibbles of bytes 0 to 31, values 32 to 63 and 96 to 127 those of bytes 32 to 63; the two
/// upper bits of all four are in one byte, those of the first the lowest.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    for (index, value) in out.iter_mut().enumerate() {
        let (half, quarter, at) = (index / 128, index % 128 / 32, index % 32);
        let low = (block[64 * half + 32 * (quarter % 2) + at] >> (4 * (quarter / 2))) & 0xf;
        let upper = (block[128 + 32 * half + at] >> (2 * quarter)) & 3;
        let scale = block[192 + index / 16] as i8;
        *value = d * f32::from(scale) * f32::from((low | (upper << 4)) as i8 - 32);
    }
}

/// The nibbles of a sub-block of 32: two neighbours share their bytes, the first has the low ones.
fn nibbles_of(bytes: &[u8], index: usize) -> impl Iterator<Item = u8> {
    let shift = 4 * (index % 2);
    let bytes = &bytes[32 * (index / 2)..32 * (index / 2 + 1)];
    bytes.iter().map(move |byte| (byte >> shift) & 0xf)
}

/// A sub-block's scale and least value, each times its float16.
///
/// Six bits each, in twelve bytes: those of sub-blocks 0 to 3 are the lower bits of bytes 0 to 3
/// and 4 to 7. Those of 4 to 7 have their four lower bits in the nibbles of bytes 8 to 11, and the
/// two upper ones above the six bits of the others.
fn scale_and_least(block: &[u8], index: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, least) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        let (scale, least) = (packed[index - 4] >> 6, packed[index] >> 6);
        let lower = packed[index + 4];
        ((lower & 0xf) | (scale << 4), (lower >> 4) | (least << 4))
    };
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    (d * f32::from(scale), m * f32::from(least))
}
