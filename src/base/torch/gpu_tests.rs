//! What GPUs do, as far as a machine without one can tell: the arithmetic of their kernels compiled
//! for the CPU, the kernels compiled and not run, and what is said on the way to a device.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::process::Command;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

use super::device::to_device;
use super::kernels::dropout;
use super::owned;

unsafe extern "C" {
    fn regatta_drop_by_words(
        number: c_int,
        x: *const c_void,
        y: *mut c_void,
        count: i64,
        seed: u64,
        threshold: u32,
    );
    fn regatta_drop_rows(
        number: c_int,
        all: *const ScoreRows,
        rows: i64,
        scores: *const c_void,
        gradient: *const c_void,
        dropped: *mut c_void,
        by_scores: *mut c_void,
    );
    fn regatta_compile_kernels(
        library: *const c_char,
        architecture: *const c_char,
        reason: *mut c_char,
        room: usize,
    ) -> i64;
    fn shim_dropout_by_operations(x: *const C_tensor, seed: u64, threshold: u32) -> *mut C_tensor;
}

/// As in `csrc/mask.h`.
#[repr(C)]
struct Key {
    seed: u64,
    threshold: u32,
}

/// As in `csrc/gpu/score_rows.h`.
#[repr(C)]
struct ScoreRows {
    heads: i64,
    queries: i64,
    tokens: i64,
    bias: *const f32,
    key: Key,
    scale: f32,
    kept: f32,
    causal: i32,
}

/// The kinds that dropout knows, in the order of the kernels.
const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Half];

/// Finite values of many magnitudes and signs, zeros and subnormal ones among them, in rows of 3.
fn values(rows: i64, kind: Kind) -> Tensor {
    let count = Tensor::arange(rows * 3, (Kind::Double, Device::Cpu));
    let signed = (&count * 1.7).sin() * ((&count * 0.37).cos() * 10.0).exp();
    let values = signed.reshape([rows, 3]);
    for (at, special) in [0.0, -0.0, 1e-40, 6e-8].into_iter().enumerate() {
        let _ = values.get(at as i64 % rows).get(2).fill_(special);
    }
    values.to_kind(kind)
}

/// The bytes of a tensor's values.
fn bytes(x: &Tensor) -> Vec<u8> {
    let x = x.contiguous();
    let len = x.numel() * x.kind().elt_size_in_bytes();
    // SAFETY: as many bytes as the values of a contiguous tensor, which is alive.
    unsafe { std::slice::from_raw_parts(x.data_ptr().cast::<u8>(), len) }.to_vec()
}

fn each_case(check: impl Fn(usize, &Tensor, u64, u16)) {
    for (number, kind) in KINDS.into_iter().enumerate() {
        for (rows, seed, threshold) in [(1, 5, 6554), (341, u64::MAX, 1), (1000, 1 << 63, 65535)] {
            check(number, &values(rows, kind), seed, threshold);
        }
    }
}

#[test]
fn the_arithmetic_of_dropout_on_a_gpu_has_the_bits_of_the_cpu() {
    each_case(|number, x, seed, threshold| {
        let mut found = vec![0_u8; bytes(x).len()];
        // SAFETY: as many values of that kind as told, read and written.
        unsafe {
            regatta_drop_by_words(
                number as c_int,
                x.data_ptr(),
                found.as_mut_ptr().cast(),
                x.numel() as i64,
                seed,
                u32::from(threshold),
            );
        }
        let expected = bytes(&dropout(x, seed, threshold).unwrap());
        assert!(found == expected, "{:?}, {seed}, {threshold}", x.kind());
    });
}

#[test]
fn dropout_on_a_device_without_a_kernel_has_the_bits_of_the_cpu() {
    each_case(|_, x, seed, threshold| {
        // SAFETY: `x` is alive through the call; what comes back is null or a tensor of our own.
        let found = unsafe {
            owned(shim_dropout_by_operations(
                x.as_ptr(),
                seed,
                u32::from(threshold),
            ))
        };
        let expected = bytes(&dropout(x, seed, threshold).unwrap());
        assert!(
            bytes(&found.unwrap()) == expected,
            "{:?}, {seed}, {threshold}",
            x.kind()
        );
    });
}

/// Probabilities of scores, dropped, and the gradient by the scores: by the GPU's arithmetic.
fn dropped_rows(
    kind: usize,
    scores: &Tensor,
    gradient: &Tensor,
    all: &ScoreRows,
) -> (Tensor, Tensor) {
    let (dropped, by_scores) = (scores.zeros_like(), scores.zeros_like());
    let rows = scores.numel() as i64 / all.tokens;
    // SAFETY: all tensors are contiguous and of one shape and kind, as is told; the bias is alive.
    unsafe {
        regatta_drop_rows(
            kind as c_int,
            all,
            rows,
            scores.data_ptr(),
            gradient.data_ptr(),
            dropped.data_ptr(),
            by_scores.data_ptr(),
        );
    }
    (dropped, by_scores)
}

#[test]
fn the_arithmetic_of_attention_on_a_gpu_is_that_of_the_definition_with_the_masks_of_the_cpu() {
    let (rows, heads, queries, tokens) = (2, 3, 5, 7);
    let (seed, threshold, scale) = (11, 20_000_u16, 0.25_f32);
    let shape = [rows, heads, queries, tokens];
    let waves = |step: f64| {
        let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
        ((count * step).sin() * 4.0).reshape(shape)
    };
    let bias = Tensor::zeros([rows, 1, 1, tokens], (Kind::Float, Device::Cpu));
    let _ = bias.get(1).narrow(2, 4, 3).fill_(f64::from(f32::MIN));
    let before = Tensor::ones([queries, tokens], (Kind::Bool, Device::Cpu)).tril(tokens - queries);
    for (number, allowed) in [(0, 1e-6), (2, 1e-2), (3, 2e-3)] {
        for (bias, causal) in [(None, false), (Some(&bias), false), (None, true)] {
            let kind = KINDS[number];
            let (scores, gradient) = (waves(0.7).to_kind(kind), waves(1.9).to_kind(kind));
            let all = ScoreRows {
                heads,
                queries,
                tokens,
                bias: bias.map_or(std::ptr::null(), |bias| bias.data_ptr().cast()),
                key: Key {
                    seed,
                    threshold: u32::from(threshold),
                },
                scale,
                kept: (1.0 / (1.0 - f64::from(threshold) / 65536.0)) as f32,
                causal: i32::from(causal),
            };
            let found = dropped_rows(number, &scores, &gradient, &all);
            let leaf = scores.to_kind(Kind::Double).set_requires_grad(true);
            let scaled = &leaf * f64::from(scale);
            let mut wanted = match bias {
                Some(bias) => scaled + bias,
                None => scaled,
            };
            if causal {
                wanted = wanted.masked_fill(&before.logical_not(), f64::NEG_INFINITY);
            }
            let wanted = dropout(&wanted.softmax(-1, Kind::Double), seed, threshold).unwrap();
            (&wanted * gradient.to_kind(Kind::Double))
                .sum(Kind::Double)
                .backward();
            // What is dropped is 0 to the bit, as is what is not seen.
            assert_eq!(found.0.eq(0.0), wanted.to_kind(Kind::Float).eq(0.0));
            for (found, wanted) in [(found.0, wanted.detach()), (found.1, leaf.grad())] {
                let miss = (found.to_kind(Kind::Double) - &wanted).abs().max();
                let largest = wanted.abs().max().double_value(&[]);
                let miss = miss.double_value(&[]) / largest;
                assert!(miss < allowed, "{kind:?}, causal {causal}: {miss:e}");
            }
        }
    }
}

/// Bytes of the GPU's kernels for an architecture, or why they do not compile; `None` without NVRTC.
fn compiled(library: &CStr, architecture: &str) -> Option<Result<i64, String>> {
    let architecture = CString::new(architecture).unwrap();
    let mut reason = [0_u8; 4000];
    // SAFETY: two texts that end with a zero, and room for as many bytes as told.
    let size = unsafe {
        regatta_compile_kernels(
            library.as_ptr(),
            architecture.as_ptr(),
            reason.as_mut_ptr().cast(),
            reason.len(),
        )
    };
    let reason = CStr::from_bytes_until_nul(&reason).unwrap();
    match size {
        0 => None,
        -1 => Some(Err(reason.to_string_lossy().into_owned())),
        size => Some(Ok(size)),
    }
}

/// With `REGATTA_NVRTC`, the NVRTC to compile with: it is in set-up's libtorch with CUDA, and in the
/// package nvidia-cuda-nvrtc.
#[test]
fn the_kernels_compile_for_every_gpu_that_libtorch_knows() {
    let library = std::env::var("REGATTA_NVRTC").unwrap_or_default();
    let named = !library.is_empty();
    let library = CString::new(library).unwrap();
    for architecture in ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120", "compute_75"] {
        match compiled(&library, architecture) {
            Some(Ok(size)) => assert!(size > 1000, "{architecture}: {size} bytes"),
            Some(Err(reason)) => panic!("{architecture}: {reason}"),
            None if named => panic!("{library:?} is no NVRTC"),
            None => return println!("skipped: there is no libnvrtc here; REGATTA_NVRTC names one"),
        }
    }
    let reason = compiled(&library, "sm_1").unwrap().unwrap_err();
    assert!(reason.contains("sm_1"), "{reason}");
}

/// What a process prints that copies a tensor to a GPU in a way, whether or not there is one.
fn said_by(way: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "base::torch::gpu_tests::copies_to_a_gpu"])
        .args(["--ignored", "--nocapture"])
        .env("REGATTA_WAY", way)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(text.contains("copied"), "{text}");
    text
}

#[test]
#[ignore = "a part of another test"]
fn copies_to_a_gpu() {
    let host = Tensor::from_slice(&[1_i64]);
    let _: Result<Tensor, TchError> = match std::env::var("REGATTA_WAY").as_deref() {
        Ok("tch") => host.f_pin_memory(Device::Cuda(0)),
        _ => to_device(&host, Device::Cuda(0)),
    };
    eprintln!("copied");
}

#[test]
fn a_copy_to_a_gpu_says_nothing_on_standard_error() {
    let theirs = said_by("tch");
    assert!(
        theirs.contains("deprecated"),
        "this test tests nothing: {theirs}"
    );
    let ours = said_by("ours");
    assert!(
        !ours.contains("Warning") && !ours.contains("deprecated"),
        "{ours}"
    );
}
