//! Blocks whose numbers are known, and random ones that the Python package `gguf` has read.

use std::path::Path;

use half::f16;

use super::dequantise;
use crate::model::source::gguf::header::GgufHeader;
use crate::model::source::gguf::metadata::MetadataValue;
use crate::model::source::gguf::reader::HeaderReader;
use crate::model::source::gguf::tensor_type::TensorType;

/// `count` numbers of `bits` bits, no two neighbours equal.
fn numbers(count: usize, bits: u32) -> Vec<u8> {
    let numbers = (0..count).map(|index| ((index * 11 + index / 16 * 3 + 5) % (1 << bits)) as u8);
    numbers.collect()
}

fn halves(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|&value| f16::from_f32(value));
    halves.flat_map(|half| half.to_le_bytes()).collect()
}

/// The four lower bits of 32 numbers: number `i` shares its byte with number `i + 16`.
fn nibbles_of_32(numbers: &[u8]) -> Vec<u8> {
    (0..16)
        .map(|at| (numbers[at] % 16) + 16 * (numbers[at + 16] % 16))
        .collect()
}

/// The fifth bits of 32 numbers as a word.
fn fifth_bits_of_32(numbers: &[u8]) -> [u8; 4] {
    let set = (0..32).filter(|&at| numbers[at] >= 16);
    set.map(|at| 1u32 << at).sum::<u32>().to_le_bytes()
}

/// The four lower bits of 256 numbers: in each 64, number `i` shares its byte with `i + 32`.
fn nibbles_of_256(numbers: &[u8]) -> Vec<u8> {
    let pairs = numbers
        .chunks(64)
        .flat_map(|part| part[..32].iter().zip(&part[32..]));
    pairs
        .map(|(low, high)| low % 16 + 16 * (high % 16))
        .collect()
}

/// Eight pairs of six bits each in twelve bytes, as ggml's `get_scale_min_k4` reads them.
fn six_bits(scales: &[u8], leasts: &[u8]) -> Vec<u8> {
    let first =
        |all: &[u8]| -> Vec<u8> { (0..4).map(|at| all[at] + 64 * (all[at + 4] / 16)).collect() };
    let last = (4..8).map(|at| scales[at] % 16 + 16 * (leasts[at] % 16));
    [first(scales), first(leasts), last.collect()].concat()
}

#[test]
fn floats_are_widened() {
    let values = [1.5f32, -0.0, 65504.0, 2f32.powi(-24)];
    let f32s: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&dequantise(TensorType::F32, &f32s)), bits(&values));
    assert_eq!(
        bits(&dequantise(TensorType::F16, &halves(&values))),
        bits(&values)
    );
    let upper: Vec<u8> = f32s
        .chunks(4)
        .flat_map(|value| [value[2], value[3]])
        .collect();
    let cut = values.map(|value| f32::from_bits(value.to_bits() & 0xffff_0000));
    assert_eq!(bits(&dequantise(TensorType::Bf16, &upper)), bits(&cut));
}

#[test]
fn blocks_of_32_are_scaled_and_shifted() {
    let (four, five) = (numbers(32, 4), numbers(32, 5));
    let (d, m) = (-0.125, 3.5);
    let scaled = |numbers: &[u8], shift: f32| -> Vec<f32> {
        let values = numbers.iter().map(|&q| d * (f32::from(q) - shift));
        values.collect()
    };
    let raised =
        |numbers: &[u8]| -> Vec<f32> { numbers.iter().map(|&q| d * f32::from(q) + m).collect() };
    let q4_0 = [halves(&[d]), nibbles_of_32(&four)].concat();
    assert_eq!(dequantise(TensorType::Q4_0, &q4_0), scaled(&four, 8.0));
    let q4_1 = [halves(&[d, m]), nibbles_of_32(&four)].concat();
    assert_eq!(dequantise(TensorType::Q4_1, &q4_1), raised(&four));
    let fifth = fifth_bits_of_32(&five).to_vec();
    let q5_0 = [halves(&[d]), fifth.clone(), nibbles_of_32(&five)].concat();
    assert_eq!(dequantise(TensorType::Q5_0, &q5_0), scaled(&five, 16.0));
    let q5_1 = [halves(&[d, m]), fifth, nibbles_of_32(&five)].concat();
    assert_eq!(dequantise(TensorType::Q5_1, &q5_1), raised(&five));
    let signed: Vec<i8> = (0..32)
        .map(|at| at * 8 - 128 + at % 3)
        .map(|q| q as i8)
        .collect();
    let bytes: Vec<u8> = signed.iter().map(|&q| q as u8).collect();
    let q8_0 = [halves(&[d]), bytes].concat();
    let right: Vec<f32> = signed.iter().map(|&q| d * f32::from(q)).collect();
    assert_eq!(dequantise(TensorType::Q8_0, &q8_0), right);
}

#[test]
fn blocks_of_256_have_scales_of_six_bits() {
    let (scales, leasts) = (numbers(8, 6), numbers(16, 6)[8..].to_vec());
    let (d, m) = (0.25, -0.5);
    let expected = |numbers: &[u8]| -> Vec<f32> {
        let value = |(at, &q): (usize, &u8)| {
            let (scale, least) = (f32::from(scales[at / 32]), f32::from(leasts[at / 32]));
            d * scale * f32::from(q) - m * least
        };
        numbers.iter().enumerate().map(value).collect()
    };
    let head = [halves(&[d, m]), six_bits(&scales, &leasts)].concat();
    let four = numbers(256, 4);
    let q4_k = [head.clone(), nibbles_of_256(&four)].concat();
    assert_eq!(dequantise(TensorType::Q4K, &q4_k), expected(&four));
    let five = numbers(256, 5);
    let fifth = (0..32).map(|at| {
        let set = (0..8).filter(|sub_block| five[32 * sub_block + at] >= 16);
        set.map(|sub_block| 1u8 << sub_block).sum()
    });
    let q5_k = [head, fifth.collect(), nibbles_of_256(&five)].concat();
    assert_eq!(dequantise(TensorType::Q5K, &q5_k), expected(&five));
}

#[test]
fn blocks_of_256_with_six_bits_have_signed_scales() {
    let six = numbers(256, 6);
    let scales: Vec<i8> = (0..16).map(|at| 9 * (at - 8)).collect();
    let d = 0.25;
    let (mut low, mut upper) = (vec![0u8; 128], vec![0u8; 64]);
    for (at, q) in six.iter().enumerate() {
        let (half, inside) = (at / 128, at % 128);
        low[64 * half + inside % 64] += (q % 16) * if inside < 64 { 1 } else { 16 };
        upper[32 * half + inside % 32] += (q / 16) * 4u8.pow((inside / 32) as u32);
    }
    let scale_bytes = scales.iter().map(|&scale| scale as u8).collect();
    let q6_k = [low, upper, scale_bytes, halves(&[d])].concat();
    let value = |(at, &q): (usize, &u8)| d * f32::from(scales[at / 16]) * (f32::from(q) - 32.0);
    let expected: Vec<f32> = six.iter().enumerate().map(value).collect();
    assert_eq!(dequantise(TensorType::Q6K, &q6_k), expected);
}

#[test]
fn a_block_that_is_cut_short_is_left_out() {
    assert_eq!(dequantise(TensorType::Q8_0, &[0; 34 + 33]).len(), 32);
}

const BLOCKS: &[u8] = include_bytes!("../../../../../tests/fixtures/gguf/blocks.gguf");
const EXPECTED: &[u8] = include_bytes!("../../../../../tests/fixtures/gguf/blocks.f32");

fn blocks() -> GgufHeader {
    let mut reader = HeaderReader::new(BLOCKS, Path::new("blocks.gguf"), BLOCKS.len() as u64);
    GgufHeader::read(&mut reader).unwrap()
}

#[test]
fn random_blocks_have_the_bits_that_the_python_package_gives() {
    let mut expected = EXPECTED.as_chunks::<4>().0.iter();
    let tensors = blocks().tensors;
    assert_eq!(tensors.len(), 11);
    for tensor in tensors {
        assert_eq!(tensor.name, format!("{}.weight", tensor.kind.name()));
        assert_eq!(tensor.shape, [2, 256]);
        let bytes = &BLOCKS[tensor.start as usize..][..tensor.bytes as usize];
        for value in dequantise(tensor.kind, bytes) {
            let right = f32::from_le_bytes(*expected.next().unwrap());
            assert_eq!(value.to_bits(), right.to_bits(), "{}", tensor.name);
        }
    }
    assert!(expected.next().is_none());
}

#[test]
fn values_of_every_type_are_those_that_the_python_package_wrote() {
    use MetadataValue::{Array, Bool, F32, F64, Signed, Text, Unsigned};
    let metadata = blocks().metadata;
    let text = |text: &str| Text(text.to_owned());
    for (key, value) in [
        ("general.alignment", Unsigned(64)),
        ("a.uint8", Unsigned(200)),
        ("a.int8", Signed(-100)),
        ("a.uint16", Unsigned(60_000)),
        ("a.int16", Signed(-30_000)),
        ("a.uint32", Unsigned(4_000_000_000)),
        ("a.int32", Signed(-2_000_000_000)),
        ("a.uint64", Unsigned((1 << 63) + 1)),
        ("a.int64", Signed(i64::MIN)),
        ("a.float32", F32(1e-5)),
        ("a.float64", F64(1e-300)),
        ("a.bool", Bool(true)),
        ("a.string", text("été")),
        (
            "a.strings",
            Array(vec![text("one"), text(""), text("three")]),
        ),
        ("a.integers", Array(vec![Signed(1), Signed(-2), Signed(3)])),
    ] {
        assert_eq!(metadata.get(key), Some(&value), "{key}");
    }
    assert_eq!(metadata.float("a.float32").unwrap(), Some(1e-5));
}
