//! A training step against its matrix products alone, at the rate of the fastest library.
//!
//!     cargo bench --bench limit -- [--model DIR] [--rows N] [--tokens N] [--threads N] [--steps N]
//!         [--only NAME] [--adapter NAME] [--r N] [--precision float32|bfloat16]
//!
//! Each product is taken by whatever multiplies it fastest: MKL, oneDNN, or in bfloat16 what layers are
//! multiplied by. They are those of the step as transformers does it: every layer for every token,
//! forward and back to its input, the adapter's, and a decoder's logits. A step that leaves some of them
//! out is faster for it. Decoders are of the sizes that are named; their weights are drawn.

#[path = "shared/table.rs"]
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::base::torch::narrow::PackedWeight;
use regatta::base::torch::narrow_sequential::FrozenLayer;
use regatta::base::{allocator, torch};
use regatta::model::architecture::Architecture;
use regatta::model::encoder::config::EncoderConfig;
use regatta::model::linear_layer::LinearLayer;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::source::known::{ArchitectureName, gpt2};
use regatta::model::weights::Weights;
use regatta::train::precision::Compute;
use regatta::train::probe::{Probe, RandomBatch, objective};
use regatta::train::settings::Precision;
use table::{median, milliseconds, print};
use tch::{Device, Kind, Tensor};

/// Times training steps side by side with their matrix products.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of the encoder
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
    /// Only the model of this name
    #[arg(long)]
    only: Option<String>,
    /// Only adapters of this name
    #[arg(long)]
    adapter: Option<String>,
    /// Only adapters of this rank
    #[arg(long)]
    r: Option<u32>,
    /// What layers are multiplied in
    #[arg(long, value_enum, default_value_t = Precision::Float32)]
    precision: Precision,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A model, an adapter's kind and rank, and whether anything is dropped out.
#[derive(Debug, Clone, Copy)]
struct Case(&'static str, AdapterKind, u32, bool);

const ENCODER: &str = "encoder";
const SMALL_GPT2: &str = "gpt2-l6";
const GPT2: &str = "gpt2";

const CASES: [Case; 9] = [
    Case(ENCODER, AdapterKind::Lora, 4, true),
    Case(ENCODER, AdapterKind::Lora, 4, false),
    Case(ENCODER, AdapterKind::Lora, 128, true),
    Case(ENCODER, AdapterKind::Vera, 128, true),
    Case(ENCODER, AdapterKind::SorfVera, 32, true),
    Case(ENCODER, AdapterKind::SorfVera, 128, true),
    Case(SMALL_GPT2, AdapterKind::Lora, 4, true),
    Case(GPT2, AdapterKind::Lora, 4, true),
    Case("smollm2-135m", AdapterKind::Lora, 4, false),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    allocator::keep_what_is_freed();
    torch::threads::use_threads(arguments.threads);
    let wanted = |Case(name, kind, r, _): &&Case| {
        let (only, adapter) = (&arguments.only, &arguments.adapter);
        only.as_ref().is_none_or(|only| only == name)
            && adapter.as_ref().is_none_or(|it| it == kind.info().name)
            && arguments.r.is_none_or(|wanted| wanted == *r)
    };
    let rows = CASES
        .iter()
        .filter(wanted)
        .map(|case| measure(&arguments, *case));
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    print(
        &[
            "model",
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

/// A model's attention heads.
struct Heads {
    /// How many query heads a layer has.
    count: i64,
    /// The width of each.
    width: i64,
}

/// The model of a case, and its attention heads.
fn model(name: &str, folder: &Path) -> anyhow::Result<(Checkpoint, Heads)> {
    if name != ENCODER {
        let (architecture, heads) = decoder(name)?;
        let objective = objective(&*architecture);
        return Ok((Checkpoint::random(architecture, &objective, 1)?, heads));
    }
    let config = EncoderConfig::read(&folder.join("config.json"))?;
    let heads = Heads {
        count: config.num_attention_heads,
        width: config.hidden_size / config.num_attention_heads,
    };
    Ok((Checkpoint::read(folder, &objective(&config), 1)?, heads))
}

fn decoder(name: &str) -> anyhow::Result<(Arc<dyn Architecture>, Heads)> {
    let known = || {
        let name: ArchitectureName = name.parse().map_err(anyhow::Error::msg)?;
        anyhow::Ok(name.read()?)
    };
    let (architecture, count): (Arc<dyn Architecture>, i64) = match name {
        SMALL_GPT2 => (Arc::new(gpt2(6, 384)), 6),
        GPT2 => (known()?, 12),
        _ => (known()?, 9),
    };
    Ok((architecture, Heads { count, width: 64 }))
}

fn measure(arguments: &Arguments, case: Case) -> anyhow::Result<Vec<String>> {
    let Case(name, kind, r, dropout) = case;
    let narrow = Compute::of(arguments.precision, Device::Cpu).kind;
    let (mut checkpoint, heads) = model(name, &arguments.model)?;
    let mut plan = AdapterPlan::plain(kind, r);
    if !dropout {
        checkpoint.architecture = checkpoint.architecture.with_dropout(0.0);
    } else if kind == AdapterKind::Lora {
        plan.dropout = 0.1;
    }
    let probe = Probe::new(&checkpoint, &plan)?;
    let mut training = probe.training(Weights::from_map(&checkpoint.base, Device::Cpu)?, narrow)?;
    let architecture = &*checkpoint.architecture;
    let (rows, tokens) = (arguments.rows, arguments.tokens);
    let batch = RandomBatch::new(architecture, rows, tokens);
    let mut alone = products(architecture, &heads, r, [rows, tokens], narrow)?;
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
        name.to_owned(),
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

/// Matrices, how often their product is taken, and by what.
struct Product {
    left: Tensor,
    right: Tensor,
    times: i64,
    way: Way,
}

/// What multiplies two matrices.
enum Way {
    /// libtorch, which takes MKL in float32 and oneDNN in bfloat16.
    Libtorch,
    /// oneDNN, by the right matrix's transpose.
    OneDnn(Tensor),
    /// What multiplies layers in bfloat16.
    Packed(PackedWeight),
}

impl Product {
    /// The fastest way to take a product.
    fn new(left: Tensor, right: Tensor, times: i64) -> anyhow::Result<Self> {
        let mut ways = vec![Way::Libtorch];
        if right.dim() == 2 {
            let turned = right.f_transpose(0, 1)?;
            if right.kind() == Kind::BFloat16 {
                let wide = turned.f_to_kind(Kind::Float)?;
                ways.extend(PackedWeight::of(&wide)?.map(Way::Packed));
            }
            ways.push(Way::OneDnn(turned));
        }
        let mut product = Self {
            left,
            right,
            times,
            way: Way::Libtorch,
        };
        let mut best = None;
        for way in ways {
            product.way = way;
            let taken = product.least(5)?;
            if best.as_ref().is_none_or(|(least, _)| taken < *least) {
                best = Some((taken, std::mem::replace(&mut product.way, Way::Libtorch)));
            }
        }
        if let Some((_, way)) = best {
            product.way = way;
        }
        Ok(product)
    }

    fn least(&self, tries: u32) -> anyhow::Result<Duration> {
        let timed = |_| {
            let start = Instant::now();
            drop(std::hint::black_box(self.take()?));
            anyhow::Ok(start.elapsed())
        };
        let taken = (0..tries).map(timed).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(taken.into_iter().min().unwrap_or_default())
    }

    fn take(&self) -> anyhow::Result<Tensor> {
        Ok(match &self.way {
            Way::Libtorch => self.left.f_matmul(&self.right)?,
            Way::OneDnn(turned) => torch::kernels::linear(&self.left, turned, None)?,
            Way::Packed(packed) => FrozenLayer(packed, None).forward(&self.left)?,
        })
    }
}

/// The products of a step.
struct Products(Vec<Product>);

impl Products {
    /// Takes all products.
    fn run(&mut self) -> anyhow::Result<()> {
        let _guard = tch::no_grad_guard();
        for product in &self.0 {
            for _ in 0..product.times {
                drop(std::hint::black_box(product.take()?));
            }
        }
        Ok(())
    }
}

/// The products of a step with a rank-r adapter on the layers that PEFT adapts by default.
fn products(
    model: &dyn Architecture,
    heads: &Heads,
    r: u32,
    [rows, t]: [i64; 2],
    kind: Kind,
) -> anyhow::Result<Products> {
    let random =
        |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu))?.f_to_kind(kind);
    let (n, r) = (rows * t, i64::from(r));
    let mut products = Vec::new();
    let mut add = |left: &[i64], right: &[i64], times| -> anyhow::Result<()> {
        products.push(Product::new(random(left)?, random(right)?, times)?);
        Ok(())
    };
    let adapted = |layer: &LinearLayer| {
        let ends = model.default_targets();
        ends.iter().any(|end| layer.module.ends_with(end))
    };
    // The first layer's input is frozen, so nothing goes back through what reads it.
    let reads_frozen = |module: &str| {
        let ends = [
            "query", "key", "value", "q_proj", "k_proj", "v_proj", "c_attn",
        ];
        ends.iter().any(|end| module.ends_with(end))
    };
    let layers = model.linear_layers();
    for layer in layers
        .iter()
        .filter(|layer| layer.layer < model.num_layers())
    {
        let (d_in, d_out) = (layer.d_in, layer.d_out);
        add(&[n, d_in], &[d_in, d_out], 1)?;
        if layer.layer > 0 || !reads_frozen(&layer.module) {
            add(&[n, d_out], &[d_out, d_in], 1)?;
        }
        // The adapter's two products, back to both factors of each.
        if adapted(layer) {
            add(&[n, d_in], &[d_in, r], 3)?;
            add(&[n, r], &[r, d_out], 3)?;
        }
    }
    // Scores and context: forward, and back to both factors.
    let (all, width) = (rows * heads.count, heads.width);
    add(&[all, t, width], &[all, width, t], 3 * model.num_layers())?;
    add(&[all, t, t], &[all, t, width], 3 * model.num_layers())?;
    if objective(model) == Objective::NextToken {
        // As many as the fastest products in bfloat16 ask for, which are up to 31 more.
        let (hidden, vocabulary) = (layers[0].d_in, (model.vocabulary() + 31) / 32 * 32);
        add(&[n, hidden], &[hidden, vocabulary], 1)?;
        add(&[n, vocabulary], &[vocabulary, hidden], 1)?;
    }
    Ok(Products(products))
}
