//! The likeliest tokens under logits: on CPUs in one call, by the C++ in `csrc/likeliest.cpp`.

use std::ffi::c_int;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_likeliest(
        logits: *const C_tensor,
        width: i64,
        tokens: *mut *mut C_tensor,
        log_probabilities: *mut *mut C_tensor,
    ) -> c_int;
}

/// The `width` likeliest tokens of each row, int64, and their log-probabilities, float64, both in memory
/// of the CPU: the likeliest first. Of equals, a CPU gives the first, a GPU any. A row with a logit that
/// is not a number has log-probabilities that are none.
///
/// # Shapes
/// `logits` (rows, vocabulary); both results (rows, width).
///
/// # Errors
/// If `width` is 0 or more than the vocabulary, or memory runs out.
pub fn likeliest(logits: &Tensor, width: usize) -> Result<[Tensor; 2], TchError> {
    let (mut tokens, mut log_probabilities) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the logits are alive through the call, which writes where the two pointers are.
    let code = unsafe {
        shim_likeliest(
            logits.as_ptr(),
            width as i64,
            &raw mut tokens,
            &raw mut log_probabilities,
        )
    };
    check(code)?;
    if !tokens.is_null() && !log_probabilities.is_null() {
        // SAFETY: what is not null is a tensor of our own.
        return Ok([tokens, log_probabilities].map(|it| unsafe { Tensor::from_ptr(it) }));
    }
    let (log_probabilities, tokens) =
        logits
            .f_log_softmax(-1, Kind::Float)?
            .f_topk(width as i64, -1, true, true)?;
    let log_probabilities = log_probabilities.f_to_device(Device::Cpu)?;
    Ok([
        tokens.f_to_device(Device::Cpu)?,
        log_probabilities.f_to_kind(Kind::Double)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values between −6 and 6 that bfloat16 has, some of them many times.
    fn values(rows: i64, vocabulary: i64) -> Tensor {
        let count = Tensor::arange(rows * vocabulary, (Kind::Double, Device::Cpu));
        let values = ((count * 0.7).sin() * 6.0).reshape([rows, vocabulary]);
        values.to_kind(Kind::BFloat16).to_kind(Kind::Double)
    }

    /// By a stable sort, in float64.
    fn by_sorting(logits: &Tensor, width: i64) -> [Tensor; 2] {
        let (sorted, places) = logits
            .log_softmax(-1, Kind::Double)
            .sort_stable(true, -1, true);
        [places.narrow(1, 0, width), sorted.narrow(1, 0, width)]
    }

    #[test]
    fn the_likeliest_are_those_of_a_stable_sort_in_float64() {
        // Below, at and above what is looked at together, and more than is summed in float32.
        for vocabulary in [1, 7, 16, 32, 33, 95, 4097, 9001] {
            for width in [1, 2, 10, vocabulary.min(40)] {
                let width = width.min(vocabulary);
                let exact = values(3, vocabulary);
                let [tokens, log_p] = by_sorting(&exact, width);
                for kind in [Kind::Float, Kind::BFloat16] {
                    let name = format!("{width} of {vocabulary}, {kind:?}");
                    let [found, own] = likeliest(&exact.to_kind(kind), width as usize).unwrap();
                    assert_eq!(found, tokens, "{name}");
                    let miss = (own - &log_p).abs().max().double_value(&[]);
                    assert!(miss < 1e-6, "{name}: {miss:e}");
                }
            }
        }
    }

    #[test]
    fn a_row_is_what_it_is_alone() {
        let logits = values(5, 1003).to_kind(Kind::Float);
        let [tokens, log_p] = likeliest(&logits, 4).unwrap();
        for row in 0..5 {
            let [alone, own] = likeliest(&logits.narrow(0, row, 1), 4).unwrap();
            assert_eq!(tokens.narrow(0, row, 1), alone);
            assert_eq!(log_p.narrow(0, row, 1), own);
        }
    }

    #[test]
    fn a_logit_that_is_no_number_leaves_no_row_but_its_own_without_one() {
        for (kind, wrong) in [
            (Kind::Float, f64::NAN),
            (Kind::BFloat16, f64::NAN),
            (Kind::Float, f64::INFINITY),
        ] {
            for place in [0, 8, 40, 44] {
                let logits = values(2, 45).to_kind(kind);
                let _ = logits.get(0).get(place).fill_(wrong);
                let [_, log_p] = likeliest(&logits, 3).unwrap();
                let numbers = log_p.isfinite().sum_dim_intlist(-1, false, Kind::Int64);
                let numbers: Vec<i64> = Vec::try_from(numbers).unwrap();
                assert_eq!(numbers, [0, 3], "{kind:?} at {place}");
            }
        }
    }

    #[test]
    fn a_token_without_probability_is_last_and_leaves_its_own_to_the_others() {
        let logits = Tensor::from_slice(&[1.0_f32, f32::NEG_INFINITY, 1.0]).unsqueeze(0);
        let [tokens, log_p] = likeliest(&logits, 3).unwrap();
        let tokens: Vec<i64> = Vec::try_from(tokens.flatten(0, -1)).unwrap();
        let log_p: Vec<f64> = Vec::try_from(log_p.flatten(0, -1)).unwrap();
        assert_eq!(tokens[..2], [0, 2]);
        assert!((log_p[0] + 2_f64.ln()).abs() < 1e-7 && log_p[0].to_bits() == log_p[1].to_bits());
        assert!(log_p[2].is_infinite() && log_p[2] < 0.0);
        let none = Tensor::full([1, 3], f64::NEG_INFINITY, (Kind::Float, Device::Cpu));
        assert!(
            likeliest(&none, 1).unwrap()[1]
                .double_value(&[0, 0])
                .is_nan()
        );
    }

    #[test]
    fn other_kinds_go_by_libtorch_and_what_cannot_be_is_refused() {
        let logits = values(3, 45);
        let [tokens, log_p] = likeliest(&logits.to_kind(Kind::Half), 1).unwrap();
        let [expected, own] = by_sorting(&logits.to_kind(Kind::Half).to_kind(Kind::Double), 1);
        assert!((log_p - own).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(tokens.size(), expected.size());
        for width in [0, 46] {
            let error = likeliest(&logits.to_kind(Kind::Float), width).unwrap_err();
            assert!(error.to_string().contains("tokens of 45"), "{error}");
        }
    }
}
