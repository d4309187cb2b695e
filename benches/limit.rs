//! A training step against its matrix products alone, at libtorch's own rate.
//!
//!     cargo bench --bench limit -- [--model DIR] [--rows N] [--tokens N] [--threads N] [--steps N]
//!
//! The products are those of the step as transformers does it: every layer for every token, forward
//! and back to its input, and the adapter's. A step that leaves some of them out is faster for it.

#[path = "shared/table.rs"]
mod table;

use std::time::{Duration, Instant};

use clap::Parser;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::base::{allocator, torch};
use regatta::model::encoder::config::EncoderConfig;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::probe::{Probe, RandomBatch, objective};
use table::{median, milliseconds, print};
use tch::{Device, Kind, Tensor};

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

/// An adapter's kind and rank, and whether anything is dropped out.
#[derive(Debug, Clone, Copy)]
struct Case(AdapterKind, u32, bool);

const CASES: [Case; 6] = [
    Case(AdapterKind::Lora, 4, true),
    Case(AdapterKind::Lora, 4, false),
    Case(AdapterKind::Lora, 128, true),
    Case(AdapterKind::Vera, 128, true),
    Case(AdapterKind::SorfVera, 32, true),
    Case(AdapterKind::SorfVera, 128, true),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    allocator::keep_what_is_freed();
    torch::threads::use_threads(arguments.threads);
    let rows = CASES.iter().map(|case| measure(&arguments, *case));
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
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

fn measure(arguments: &Arguments, Case(kind, r, dropout): Case) -> anyhow::Result<Vec<String>> {
    let mut checkpoint = Checkpoint::read(&arguments.model, &objective(), 1)?;
    let mut plan = AdapterPlan::plain(kind, r);
    if !dropout {
        checkpoint.architecture = checkpoint.architecture.with_dropout(0.0);
    } else if kind == AdapterKind::Lora {
        plan.dropout = 0.1;
    }
    let probe = Probe::new(&checkpoint, &plan)?;
    let mut training = probe.training(Weights::from_map(&checkpoint.base, Device::Cpu)?)?;
    let batch = RandomBatch::new(&*checkpoint.architecture, arguments.rows, arguments.tokens);
    let config = EncoderConfig::read(&arguments.model.join("config.json"))?;
    let mut alone = products(&config, r, arguments.rows, arguments.tokens)?;
    let (mut products, mut phases) = (Vec::new(), [vec![], vec![], vec![]]);
    let mut whole = Vec::new();
    for step in 0..arguments.steps + 3 {
        let start = Instant::now();
        alone.run()?;
        let product = start.elapsed();
        let taken = training.step(&batch)?;
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
        kind.info().name.to_owned(),
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
            (arguments.rows * arguments.tokens) as f64 / step.as_secs_f64()
        ),
    ])
}

/// Matrices, and how often their product is taken.
struct Products(Vec<(Tensor, Tensor, i64)>);

impl Products {
    /// Takes all products.
    fn run(&mut self) -> anyhow::Result<()> {
        let _guard = tch::no_grad_guard();
        for (left, right, times) in &self.0 {
            for _ in 0..*times {
                drop(std::hint::black_box(left.f_matmul(right)?));
            }
        }
        Ok(())
    }
}

/// The products of a step with a rank-r adapter on query and value.
fn products(config: &EncoderConfig, r: u32, rows: i64, tokens: i64) -> anyhow::Result<Products> {
    let random = |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu));
    let (h, wide, layers) = (
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
    );
    let (n, r, t) = (rows * tokens, i64::from(r), tokens);
    let heads = rows * config.num_attention_heads;
    let width = h / config.num_attention_heads;
    let mut products = Vec::new();
    let mut add = |left: &[i64], right: &[i64], times| -> anyhow::Result<()> {
        products.push((random(left)?, random(right)?, times));
        Ok(())
    };
    // Query, key, value and output: forward, and back to their input. The first layer's input is
    // frozen, so nothing goes back through its query, key and value.
    add(&[n, h], &[h, h], 4 * layers + 4 * layers - 3)?;
    add(&[n, h], &[h, wide], 2 * layers)?;
    add(&[n, wide], &[wide, h], 2 * layers)?;
    // Scores and context: forward, and back to both factors.
    add(&[heads, t, width], &[heads, width, t], 3 * layers)?;
    add(&[heads, t, t], &[heads, t, width], 3 * layers)?;
    // The adapter's two products, back to both factors of each.
    add(&[n, h], &[h, r], 2 * 3 * layers)?;
    add(&[n, r], &[r, h], 2 * 3 * layers)?;
    Ok(Products(products))
}
