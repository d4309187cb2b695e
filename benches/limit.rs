//! A training step against its matrix products alone, at libtorch's own rate.
//!
//!     cargo bench --bench limit -- [--model DIR] [--rows N] [--tokens N] [--threads N] [--steps N]
//!
//! The products are those of the step as transformers does it: every layer for every token, forward
//! and back to its input, and the adapter's. A step that leaves some of them out is faster for it.

#[path = "shared/step.rs"]
mod step;
#[path = "shared/table.rs"]
mod table;

use std::time::{Duration, Instant};

use clap::Parser;
use regatta::base::{allocator, torch};
use step::{Batch, Bench, products};
use table::{median, milliseconds, print};

/// Times training steps side by side with their matrix products.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of the model
    #[arg(long, default_value = "models/minilm")]
    model: std::path::PathBuf,
    /// Examples in a batch
    #[arg(long, default_value_t = 32)]
    rows: i64,
    /// Tokens of each
    #[arg(long, default_value_t = 64)]
    tokens: i64,
    /// Threads of the CPU
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Steps that are timed, after three that are not
    #[arg(long, default_value_t = 15)]
    steps: usize,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Adapter, rank, and whether anything is dropped out.
const CASES: [(&str, u32, bool); 6] = [
    ("lora", 4, true),
    ("lora", 4, false),
    ("lora", 128, true),
    ("vera", 128, true),
    ("sorf_vera", 32, true),
    ("sorf_vera", 128, true),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    allocator::keep_what_is_freed();
    torch::threads::use_threads(arguments.threads);
    let batch = Batch {
        rows: arguments.rows,
        tokens: arguments.tokens,
    };
    let mut rows = Vec::new();
    for (adapter, r, dropout) in CASES {
        let mut bench = Bench::new(&arguments.model, adapter, r, dropout)?;
        rows.push(measure(
            &mut bench,
            &batch,
            arguments.steps,
            adapter,
            r,
            dropout,
        )?);
    }
    print(
        &[
            "adapter",
            "r",
            "dropout",
            "products, ms",
            "step, ms",
            "step / products",
            "forward",
            "backward",
            "optimiser",
            "tokens/s",
        ],
        &rows,
    );
    Ok(())
}

fn measure(
    bench: &mut Bench,
    batch: &Batch,
    steps: usize,
    adapter: &str,
    r: u32,
    dropout: bool,
) -> anyhow::Result<Vec<String>> {
    let mut alone = products(&bench.config, r, batch)?;
    let (mut products, mut phases) = (Vec::new(), [vec![], vec![], vec![]]);
    let mut whole = Vec::new();
    for step in 0..steps + 3 {
        let start = Instant::now();
        alone.run()?;
        let product = start.elapsed();
        let taken = bench.step(batch)?;
        if step < 3 {
            continue;
        }
        products.push(product);
        whole.push(taken.iter().sum::<Duration>());
        phases
            .iter_mut()
            .zip(taken)
            .for_each(|(all, one)| all.push(one));
    }
    let (product, step) = (median(&mut products), median(&mut whole));
    let share = |phase: &mut Vec<Duration>| {
        format!(
            "{:.0} %",
            100.0 * median(phase).as_secs_f64() / step.as_secs_f64()
        )
    };
    let [forward, backward, optimiser] = &mut phases;
    Ok(vec![
        adapter.to_owned(),
        r.to_string(),
        if dropout { "on" } else { "off" }.to_owned(),
        milliseconds(product),
        milliseconds(step),
        format!("{:.2}", step.as_secs_f64() / product.as_secs_f64()),
        share(forward),
        share(backward),
        share(optimiser),
        format!(
            "{:.0}",
            (batch.rows * batch.tokens) as f64 / step.as_secs_f64()
        ),
    ])
}
