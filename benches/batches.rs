//! What a batch costs beside the step it is for, and how evaluation does with batches of each size.
//!
//!     cargo bench --bench batches -- [--model DIR] [--data DIR] [--task TASK] [--threads N]

#[path = "shared/table.rs"]
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::base::{allocator, torch};
use regatta::data::batch::{Batch, BatchLabels, batches, epoch_order, group_by_length};
use regatta::data::encoded::EncodedSplit;
use regatta::data::tokenize::TextEncoder;
use regatta::model::config;
use regatta::model::inputs::Inputs;
use regatta::model::loss::Labels;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use regatta::tasks::ReadOptions;
use regatta::tasks::glue::source::load_with;
use regatta::tasks::glue::task::GlueTask;
use regatta::train::evaluate::predict;
use regatta::train::precision::Compute;
use regatta::train::probe::{Probe, RandomBatch, objective};
use regatta::train::settings::Precision;
use regatta_actors::random::StreamKey;
use table::{median, milliseconds, print};
use tch::{Device, Kind};

const BATCH: usize = 32;
const SIZES: [usize; 6] = [4, 8, 16, 32, 64, 128];

/// Times what becomes of batches.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of the model
    #[arg(long, default_value = "models/minilm")]
    model: PathBuf,
    /// Folder of the tasks
    #[arg(long, default_value = "data/reviews")]
    data: PathBuf,
    /// The task
    #[arg(long, default_value = "sst2")]
    task: GlueTask,
    /// Examples, of training and of validation
    #[arg(long, default_value_t = 512)]
    examples: usize,
    /// Threads of the CPU
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Times that each is measured
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    allocator::keep_what_is_freed();
    torch::threads::use_threads(arguments.threads);
    let options = ReadOptions {
        limit_train: Some(arguments.examples),
        limit_eval: Some(arguments.examples),
        ..ReadOptions::default()
    };
    let data = load_with(arguments.task, &arguments.data, &options)?;
    let encoder = TextEncoder::from_model_dir(&arguments.model, 128)?;
    preparation(&arguments, &encoder.encode(&data.train)?, encoder.pad_id())?;
    println!();
    evaluation(
        &arguments,
        &encoder.encode(&data.validation[0])?,
        encoder.pad_id(),
    )
}

/// An epoch's batches: gathered, made into tensors, and trained on.
fn preparation(arguments: &Arguments, split: &EncodedSplit, pad: u32) -> anyhow::Result<()> {
    let key = StreamKey {
        seed: 1,
        purpose: "bench",
        name: "",
        round: 0,
        attempt: 0,
    };
    let architecture = config::read(&arguments.model.join("config.json"))?;
    let checkpoint = Checkpoint::read(&arguments.model, &objective(&*architecture), 1)?;
    let plan = AdapterPlan {
        dropout: 0.1,
        ..AdapterPlan::plain(AdapterKind::Lora, 4)
    };
    let probe = Probe::new(&checkpoint, &plan)?;
    let mut trainer = probe.training(
        Weights::from_map(&checkpoint.base, Device::Cpu)?,
        Kind::Float,
    )?;
    let (mut ordering, mut gathering, mut placing, mut training) = (vec![], vec![], vec![], vec![]);
    for _ in 0..arguments.turns {
        let start = Instant::now();
        let mut order = epoch_order(split.len(), key);
        group_by_length(&mut order, BATCH, |at| split.ids(at as usize).len(), key);
        ordering.push(start.elapsed());
        let (mut gathered, mut placed, mut trained) =
            (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for positions in batches(&order, BATCH) {
            let start = Instant::now();
            let batch = Batch::gather(split, positions, pad);
            gathered += start.elapsed();
            let start = Instant::now();
            let (ids, mask, types) = (
                &batch.input_ids,
                &batch.attention_mask,
                &batch.token_type_ids,
            );
            let inputs = Inputs::new(batch.rows as i64, ids, mask, types, Device::Cpu)?;
            let labels = match &batch.labels {
                BatchLabels::Rows(labels) => Labels::rows(labels, Device::Cpu)?,
                BatchLabels::Sets { values, labels } => Labels::sets(values, *labels, Device::Cpu)?,
                BatchLabels::Tokens { places, tokens } => {
                    Labels::tokens(places, tokens, Device::Cpu)?
                }
            };
            placed += start.elapsed();
            drop((inputs, labels));
            let batch = RandomBatch::new(
                &*checkpoint.architecture,
                batch.rows as i64,
                batch.cols as i64,
            );
            trained += trainer.step(&batch)?.iter().sum::<Duration>();
        }
        gathering.push(gathered);
        placing.push(placed);
        training.push(trained);
    }
    let steps = median(&mut training);
    let row = |what: &str, durations: &mut Vec<Duration>| {
        let taken = median(durations);
        let share = 100.0 * taken.as_secs_f64() / steps.as_secs_f64();
        vec![
            what.to_owned(),
            format!("{:.3}", taken.as_secs_f64() * 1e3),
            format!("{share:.3} %"),
        ]
    };
    print(
        &["an epoch", "ms", "of the steps"],
        &[
            row("order, like lengths together", &mut ordering),
            row("gather and pad", &mut gathering),
            row("make tensors", &mut placing),
            row("train", &mut training),
        ],
    );
    Ok(())
}

/// Evaluation, batches of each size in turn.
fn evaluation(arguments: &Arguments, split: &EncodedSplit, pad: u32) -> anyhow::Result<()> {
    let architecture = config::read(&arguments.model.join("config.json"))?;
    let objective = objective(&*architecture);
    let checkpoint = Checkpoint::read(&arguments.model, &objective, 1)?;
    let mut all = checkpoint.base;
    all.0.extend(checkpoint.head.0);
    let model = || {
        let weights = Weights::from_map(&all, Device::Cpu)?;
        checkpoint
            .architecture
            .build(&View::new(&weights), &objective)
    };
    let compute = Compute::of(Precision::Float32, Device::Cpu);
    let mut taken = vec![Vec::new(); SIZES.len()];
    for _ in 0..arguments.turns {
        for (size, taken) in SIZES.iter().zip(&mut taken) {
            let start = Instant::now();
            predict(model, split, *size, pad, compute)?;
            taken.push(start.elapsed());
        }
    }
    let sizes = SIZES.iter().zip(&mut taken);
    let rows = sizes.map(|(size, taken)| {
        let taken = median(taken);
        let rate = split.len() as f64 / taken.as_secs_f64();
        vec![size.to_string(), milliseconds(taken), format!("{rate:.0}")]
    });
    print(
        &["examples in a batch", "evaluation, ms", "examples/s"],
        &rows.collect::<Vec<_>>(),
    );
    Ok(())
}
