//! Whole numbers of 8 bits with a scale for each row, as bitsandbytes quantises weights
//! (`int8_vectorwise_quant`): Dettmers et al., *LLM.int8(): 8-bit Matrix Multiplication for Transformers
//! at Scale*, 2022. Their other half, products of whole numbers with outliers of the inputs kept apart,
//! is not done: inputs stay as they are.

use crate::base::torch::threads::in_parallel;

/// The largest code.
const MOST: f32 = 127.0;

/// Rows that a core is given at a time.
const ROWS_AT_ONCE: usize = 256;

/// Codes, and what each row's are multiplied by: its largest absolute value / 127. Numbers half-way
/// between two codes go to the even one. bitsandbytes multiplies by the two factors one after the other,
/// which may differ in the last bit.
pub(super) fn quantise(values: &[f32], columns: usize) -> (Vec<i8>, Vec<f32>) {
    let parts = values.chunks(ROWS_AT_ONCE * columns.max(1)).collect();
    let done = in_parallel(parts, |part: &[f32]| {
        let rows = part.chunks(columns.max(1)).map(quantise_row);
        rows.collect::<Vec<_>>()
    });
    let mut codes = Vec::with_capacity(values.len());
    let mut scales = Vec::new();
    for (row, scale) in done.into_iter().flatten() {
        codes.extend_from_slice(&row);
        scales.push(scale);
    }
    (codes, scales)
}

fn quantise_row(values: &[f32]) -> (Vec<i8>, f32) {
    let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let factor = MOST / largest;
    let scaled = |x: f32| match factor.is_finite() {
        true => x * factor,
        _ if largest == 0.0 => 0.0,
        // Of numbers so small there is no such factor.
        false => (f64::from(x) * f64::from(MOST) / f64::from(largest)) as f32,
    };
    let code = |x: &f32| scaled(*x).round_ties_even().clamp(-MOST, MOST) as i8;
    let scale = largest / MOST;
    // Of the largest numbers that there are, the quotient may be rounded to one that is too large.
    let scale = match (scale * MOST).is_finite() {
        true => scale,
        false => scale.next_down(),
    };
    (values.iter().map(code).collect(), scale)
}
