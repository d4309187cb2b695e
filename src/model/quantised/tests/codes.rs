//! Codes against bitsandbytes' formulas in float64.

use crate::model::quantised::tests::{THRESHOLDS, VALUES, random};
use crate::model::quantised::{int8, nf4};

fn nf4_codes(values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let (bytes, scales) = nf4::quantise(values);
    assert_eq!(bytes.len(), values.len().div_ceil(2));
    let codes = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    (codes.take(values.len()).map(usize::from).collect(), scales)
}

/// The values that bring NF4 to its edges, each with a name.
fn edges() -> Vec<(&'static str, Vec<f32>)> {
    let ties = THRESHOLDS.iter().map(|x| *x as f32).chain([1.0]);
    let one_huge = (0..64).map(|i| if i == 40 { 3.0e38 } else { 1.0e-3 * i as f32 });
    let tiny = (0..64).map(|i| 1.0e-44 * (i - 30) as f32);
    vec![
        ("zeros", vec![0.0; 64]),
        ("negative zeros", vec![-0.0; 130]),
        ("ties", ties.collect()),
        ("one huge value", one_huge.collect()),
        ("no inverse", tiny.collect()),
        ("odd", random(1, 3 * 7)),
        ("behind a block", random(2, 5 * 13)),
        ("one", vec![-2.5]),
        ("many", random(3, 64 * 1000 + 1)),
    ]
}

#[test]
fn nf4_takes_the_nearest_value_and_the_lower_of_two() {
    for (name, values) in edges() {
        let (codes, scales) = nf4_codes(&values);
        assert_eq!(scales.len(), values.len().div_ceil(64), "{name}");
        for (block, (values, codes)) in values.chunks(64).zip(codes.chunks(64)).enumerate() {
            let largest = values
                .iter()
                .map(|x| f64::from(x.abs()))
                .fold(0.0, f64::max);
            assert_eq!(f64::from(scales[block]), largest, "{name}");
            for (x, code) in values.iter().zip(codes) {
                let scaled = if largest == 0.0 {
                    0.0
                } else {
                    f64::from(*x) / largest
                };
                let expected = THRESHOLDS.iter().filter(|least| scaled > **least).count();
                // In float32, the scaled number is off by a few units in the last place.
                let near = THRESHOLDS.iter().any(|least| (scaled - least).abs() < 1e-6);
                let distance = (VALUES[*code] - scaled).abs();
                let least = VALUES.iter().map(|value| (value - scaled).abs());
                let least = least.fold(f64::INFINITY, f64::min);
                assert!(
                    *code == expected || near,
                    "{name}: {x} of {largest}: {code}"
                );
                assert!(distance < least + 1e-6, "{name}: {x} of {largest}: {code}");
            }
        }
    }
    // Exactly half-way, scaled by 1: the lower code.
    let ties: Vec<f32> = THRESHOLDS.iter().map(|x| *x as f32).chain([1.0]).collect();
    assert_eq!(nf4_codes(&ties).0, (0..16).collect::<Vec<_>>());
    let above: Vec<f32> = ties.iter().map(|x| x + x.abs() * 1e-6).collect();
    let above = [&above[..15], &[1.0]].concat();
    assert_eq!(nf4_codes(&above).0, (1..16).chain([15]).collect::<Vec<_>>());
}

#[test]
fn nf4_has_the_first_of_two_codes_in_the_upper_half() {
    let (bytes, scales) = nf4::quantise(&[-1.0, 1.0, 0.0]);
    assert_eq!((bytes, scales), (vec![0x0f, 0x77], vec![1.0]));
}

#[test]
fn int8_takes_the_nearest_number_of_its_row_and_the_even_one_of_two() {
    let halves = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -0.0];
    let (codes, scales) = int8::quantise(&halves, 7);
    assert_eq!((codes, scales), (vec![127, 0, 2, 2, 0, -2, 0], vec![1.0]));
    let rows: [&[f32]; 5] = [
        &[0.0, -0.0, 0.0],
        &[3.0e38, 1.0, -2.0e38],
        &[1.0e-44, -1.0e-44, 0.0],
        &[-4.0, 3.99, 0.01],
        &random(5, 3),
    ];
    let (codes, scales) = int8::quantise(&rows.concat(), 3);
    for ((row, codes), scale) in rows.iter().zip(codes.chunks(3)).zip(&scales) {
        let largest = row.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
        assert!((f64::from(*scale) * 127.0 - largest).abs() <= 1e-6 * largest + 1e-43);
        for (x, code) in row.iter().zip(codes) {
            let exact = if largest == 0.0 {
                0.0
            } else {
                f64::from(*x) * 127.0 / largest
            };
            assert!(
                (f64::from(*code) - exact).abs() <= 0.5 + 1e-4,
                "{x} in {row:?}: {code}"
            );
        }
    }
}
