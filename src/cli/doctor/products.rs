//! What the processor multiplies, and how fast one thread of it does.

use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, Kind, TchError, Tensor};

use crate::base::machine::Host;
use crate::base::torch;
use crate::cli::doctor::Findings;

/// Instruction sets for products, the narrowest vectors first: their names, and the features by which
/// the system tells them.
const LEVELS: [(&str, &str); 4] = [
    ("AVX2", "avx2"),
    ("AVX-512", "avx512f"),
    ("AVX512-BF16", "avx512_bf16"),
    ("AMX", "amx_bf16"),
];

/// The size of what is multiplied: a part of a batch by a layer of BERT-base.
const TOKENS: i64 = 1024;
const WIDTH: i64 = 768;
/// How long each product is repeated. With the first of each it stays under a second in all.
const PATIENCE: Duration = Duration::from_millis(200);

/// Says which instructions there are, and the rates of products.
pub fn look_at_products(machine: &Host, findings: &mut Findings) {
    findings.found("products", levels(|feature| machine.has_feature(feature)));
    findings.found(
        "products",
        match rates() {
            Ok([wide, narrow]) => format!(
                "one thread multiplies {TOKENS} × {WIDTH} by {WIDTH} × {WIDTH} at {wide:.0} GFLOP/s \
                 in float32, at {narrow:.0} in bfloat16"
            ),
            Err(error) => format!("cannot be measured: {error}"),
        },
    );
}

fn levels(has: impl Fn(&str) -> bool) -> String {
    let found = LEVELS.into_iter().filter(|(_, feature)| has(feature));
    let found: Vec<&str> = found.map(|(name, _)| name).collect();
    match found.is_empty() {
        true => "none of AVX2, AVX-512, AVX512-BF16 and AMX".to_owned(),
        false => found.join(", "),
    }
}

/// GFLOP/s of one thread in float32 and in bfloat16.
fn rates() -> Result<[f64; 2], TchError> {
    // The number of threads is a thread's own.
    let measure = || {
        torch::threads::use_threads(1);
        let _guard = tch::no_grad_guard();
        Ok([rate(Kind::Float)?, rate(Kind::BFloat16)?])
    };
    let measured = thread::scope(|scope| scope.spawn(measure).join());
    measured.unwrap_or_else(|_| Err(TchError::Torch("the thread panicked".to_owned())))
}

/// The best of what layers of frozen weights are multiplied by.
fn rate(kind: Kind) -> Result<f64, TchError> {
    let values = |rows| Tensor::f_ones([rows, WIDTH], (Kind::Float, Device::Cpu))?.f_to_kind(kind);
    let (x, weight) = (values(TOKENS)?, values(WIDTH)?);
    let product = || torch::kernels::linear(&x, &weight, None);
    drop(product()?);
    let (begin, mut least) = (Instant::now(), Duration::MAX);
    while begin.elapsed() < PATIENCE {
        let start = Instant::now();
        drop(product()?);
        least = least.min(start.elapsed());
    }
    let operations = 2 * TOKENS * WIDTH * WIDTH;
    Ok(operations as f64 / least.as_secs_f64() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_named_as_their_makers_do() {
        let found = levels(|feature| feature == "avx2" || feature == "amx_bf16");
        assert_eq!(found, "AVX2, AMX");
        assert!(levels(|_| false).starts_with("none"));
    }
}
