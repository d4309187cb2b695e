//! Kernels for CPUs give the same bits whatever instructions they take.

use std::env;
use std::fmt::Write as _;
use std::process::Command;

use tch::{Kind, Tensor};

use super::cross_entropy::CrossEntropy;
use super::kernels::{AttentionInputs, NextAttention, SigmoidGate, attention};
use super::likeliest::likeliest;
use super::norms::{FrozenNorm, FrozenRmsNorm};

/// What limits libtorch's kernels to some instructions, and ours with them.
const CAPABILITY: &str = "ATEN_CPU_CAPABILITY";
/// What asks a process of these tests to print the bits.
const PRINTS: &str = "REGATTA_PRINT_BITS";

/// Values that libtorch has no part in, between −`largest` and `largest`, whose gradient is wanted.
fn leaf(shape: &[i64], seed: u64, largest: f32) -> Tensor {
    let count = shape.iter().product::<i64>() as u64;
    let bits = (0..count).map(|at| (at + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    let values: Vec<f32> = bits
        .map(|bits| (bits as f32 / 8_388_608.0 - 1.0) * largest)
        .collect();
    Tensor::from_slice(&values)
        .reshape(shape)
        .set_requires_grad(true)
}

/// A tensor's bits, shortened by FNV-1a.
fn bits_of(x: &Tensor) -> u64 {
    let x = x.detach().contiguous().flatten(0, -1);
    let bytes: Vec<u8> = match x.kind() {
        Kind::Int64 => Vec::<i64>::try_from(&x)
            .unwrap()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Kind::Double => Vec::<f64>::try_from(&x)
            .unwrap()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        _ => Vec::<f32>::try_from(x.to_kind(Kind::Float))
            .unwrap()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
    };
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A line of the bits of tensors.
fn line(name: &str, tensors: &[Tensor]) -> String {
    let mut line = format!("bits of {name}:");
    for tensor in tensors {
        write!(line, " {:016x}", bits_of(tensor)).unwrap();
    }
    line
}

/// The bits of what an operation makes, and of the gradients by what it is made of.
fn both_ways(name: &str, y: &Tensor, leaves: &[&Tensor]) -> String {
    let weights = leaf(&y.size(), 99, 1.0).detach().to_kind(y.kind());
    (y * weights).sum(Kind::Double).backward();
    let gradients = leaves.iter().map(|leaf| leaf.grad());
    let all: Vec<Tensor> = [y.shallow_clone()].into_iter().chain(gradients).collect();
    line(name, &all)
}

fn bits_of_attention(tokens: i64, causal: bool) -> String {
    let [query, key, value] = [1, 2, 3].map(|seed| leaf(&[2, tokens, 64], seed, 1.0));
    let inputs = AttentionInputs {
        query: &query,
        key: &key,
        value: &value,
        bias: None,
        heads: 2,
        causal,
    };
    let name = format!("attention to {tokens}, {causal}");
    let y = attention(inputs, 5, 6554).unwrap();
    // It is not written for a processor without wide vectors, nor that of a next token.
    y.map_or_else(
        || line(&name, &[]),
        |y| both_ways(&name, &y, &[&query, &key, &value]),
    )
}

fn bits_of_next_attention() -> String {
    let stored = |tokens: i64, seed| {
        let [key, value] = [seed, seed + 1].map(|seed| leaf(&[tokens, 32], seed, 1.0).detach());
        (key, value)
    };
    let query = leaf(&[3, 64], 1, 1.0).detach();
    let attention = NextAttention {
        query: &query,
        heads: 2,
        key_heads: 1,
        prompts: &[stored(21, 2), stored(40, 4)],
        steps: &[stored(3, 6), stored(3, 8)],
        prompt_of: &[0, 1, 0],
        rows: &[0, 0, 1, 1, 2, 2],
        scale: None,
        softcap: None,
        window: None,
    };
    let y: Vec<Tensor> = attention.attend().unwrap().into_iter().collect();
    line("attention of a next token", &y)
}

fn bits_of_norms() -> Vec<String> {
    let (x, residual) = (leaf(&[5, 80], 1, 2.0), leaf(&[5, 80], 2, 2.0));
    let [weight, bias] = [3, 4].map(|seed| leaf(&[80], seed, 1.0).detach());
    let norm = FrozenNorm {
        weight: &weight,
        bias: Some(&bias),
        eps: 1e-5,
    };
    let y = norm.of_residual(&x, &residual, &[(2, 7), (3, 8)], 6554);
    let layer = both_ways("a norm of a sum", &y.unwrap().unwrap(), &[&x, &residual]);
    let x = leaf(&[5, 80], 5, 2.0);
    let norm = FrozenRmsNorm {
        weight: &weight,
        eps: 1e-5,
        offset: 1.0,
    };
    let y = norm.forward(&x, false).unwrap().unwrap();
    vec![layer, both_ways("a root mean square", &y, &[&x])]
}

fn bits_of_gate() -> String {
    let (x, gated) = (leaf(&[3, 77], 1, 4.0), leaf(&[3, 77], 2, 4.0));
    let gate = SigmoidGate {
        linear: 1.595_769_1,
        cubic: 0.071_354_8,
    };
    let y = gate.forward(&x, Some(&gated)).unwrap().unwrap();
    both_ways("a gate", &y, &[&x, &gated])
}

fn bits_of_cross_entropy(cap: Option<f64>, kind: Kind) -> String {
    let tokens = Tensor::from_slice(&[5_i64, 0, 9_010]);
    let mut logits = leaf(&[3, 9_011], 1, 20.0).detach().to_kind(kind);
    let loss = CrossEntropy {
        tokens: &tokens,
        cap,
        smoothing: 0.1,
    };
    let found = loss.compute(&mut logits, true).unwrap().unwrap();
    line(
        &format!("a loss, {cap:?}, {kind:?}"),
        &[logits, found.own, found.all.unwrap()],
    )
}

fn bits_of_likeliest(kind: Kind) -> String {
    let logits = leaf(&[3, 9_011], 1, 20.0).detach().to_kind(kind);
    line(
        &format!("the likeliest, {kind:?}"),
        &likeliest(&logits, 4).unwrap(),
    )
}

fn bits_of_all_kernels() -> Vec<String> {
    let mut lines = bits_of_norms();
    for (tokens, causal) in [(16, false), (77, false), (100, true)] {
        lines.push(bits_of_attention(tokens, causal));
    }
    lines.push(bits_of_next_attention());
    lines.push(bits_of_gate());
    for kind in [Kind::Float, Kind::BFloat16] {
        lines.push(bits_of_likeliest(kind));
        lines.push(bits_of_cross_entropy(Some(30.0), kind));
    }
    lines.push(bits_of_cross_entropy(None, Kind::Float));
    lines
}

#[test]
fn kernels_give_the_same_bits_with_the_instructions_that_most_processors_have() {
    let own = bits_of_all_kernels();
    if env::var_os(PRINTS).is_some() {
        return println!("\n{}", own.join("\n"));
    }
    let name = "base::torch::instructions_tests::\
                kernels_give_the_same_bits_with_the_instructions_that_most_processors_have";
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CAPABILITY, "avx2")
        .env(PRINTS, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = text.lines().filter(|l| l.starts_with("bits of")).collect();
    assert_eq!(own, theirs);
}
