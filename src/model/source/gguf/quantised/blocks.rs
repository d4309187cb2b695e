//! Blocks of 32 values with one scale `d`, a float16, and in some a least value `m`, another.
//!
//! Of 16 bytes with two numbers each, the low nibbles are values 0 to 15 and the high ones 16 to
//! 31. A fifth bit of each value is in a word of 32 bits.

use super::f16_at;

/// `d` (2 bytes), nibbles (16): `(q - 8) d`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (value, q) in out.iter_mut().zip(nibbles(&block[2..])) {
        *value = f32::from(q as i8 - 8) * d;
    }
}

/// `d` (2 bytes), `m` (2), nibbles (16): `q d + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for (value, q) in out.iter_mut().zip(nibbles(&block[4..])) {
        *value = f32::from(q) * d + m;
    }
}

/// `d` (2 bytes), fifth bits (4), nibbles (16): `(q - 16) d`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    let numbers = nibbles(&block[6..]).zip(fifth_bits(&block[2..6]));
    for (value, (low, high)) in out.iter_mut().zip(numbers) {
        *value = f32::from((low | high) as i8 - 16) * d;
    }
}

/// `d` (2 bytes), `m` (2), fifth bits (4), nibbles (16): `q d + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let numbers = nibbles(&block[8..]).zip(fifth_bits(&block[4..8]));
    for (value, (low, high)) in out.iter_mut().zip(numbers) {
        *value = f32::from(low | high) * d + m;
    }
}

/// `d` (2 bytes), signed bytes (32): `q d`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (value, q) in out.iter_mut().zip(&block[2..]) {
        *value = f32::from(*q as i8) * d;
    }
}

/// The low nibbles of all bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let low = bytes.iter().map(|byte| byte & 0xf);
    low.chain(bytes.iter().map(|byte| byte >> 4))
}

/// Each bit of four bytes, the lowest of the first byte first, as 0 or 16.
fn fifth_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| ((byte >> bit) & 1) << 4))
}
