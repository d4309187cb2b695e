//! Aggregation of RoBERTa-base's 24 adapted layers, beside what the Python project computes.
//!
//!     cargo bench --bench aggregation -- [--threads N] [--only METHOD]
//!
//! The Python project's formulas, in dense products layer by layer and client by client, are
//! computed by the same libtorch: for `fedex` and `fedex_vera` on all of it. For `sorf_vera`, whose
//! rotation is a chain of r (r − 1) / 2 turns, one client's rotation (by rows, which is less than
//! the project does) and one layer's decomposition are timed and multiplied up.

#[path = "shared/table.rs"]
#[allow(dead_code, reason = "medians are taken elsewhere")]
mod table;

use std::time::{Duration, Instant};

use clap::Parser;
use rand::{RngExt, SeedableRng};
use regatta::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::adapter::{Adapter, initial_state};
use regatta::aggregate::Round;
use regatta::aggregate::methods;
use regatta::aggregate::state::GlobalState;
use regatta::base::tensors::TensorMap;
use regatta::base::{allocator, torch};
use regatta::model::linear_layer::{LinearLayer, WeightLayout};
use regatta_actors::random::Stream;
use tch::{Device, Kind, Tensor};

/// Width of RoBERTa-base's layers, of which query and value are adapted in twelve.
const WIDTH: i64 = 768;
const LAYERS: i64 = 24;

/// Times each method's aggregation.
#[derive(Debug, Parser)]
struct Arguments {
    /// Threads of the CPU
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// This method alone
    #[arg(long)]
    only: Option<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Method, adapter and rank.
const METHODS: [(&str, AdapterKind, u32); 3] = [
    ("fedex", AdapterKind::Lora, 4),
    ("fedex_vera", AdapterKind::Vera, 128),
    ("sorf_vera", AdapterKind::SorfVera, 128),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    allocator::keep_what_is_freed();
    torch::threads::use_threads(arguments.threads);
    let _guard = tch::no_grad_guard();
    let mut rows = Vec::new();
    let wanted = |method: &str| arguments.only.as_deref().is_none_or(|only| only == method);
    for (method, adapter, r) in METHODS.into_iter().filter(|(method, ..)| wanted(method)) {
        for clients in [3, 10, 100] {
            let (taken, error) = ours(method, adapter, r, clients)?;
            let theirs = match method {
                "fedex" => dense_lora(i64::from(r), clients)?,
                "fedex_vera" => dense_vera(i64::from(r), clients)?,
                _ => dense_sorf(i64::from(r), clients)?,
            };
            rows.push(vec![
                method.to_owned(),
                r.to_string(),
                clients.to_string(),
                format!("{:.3}", taken.as_secs_f64()),
                format!("{:.2}", theirs.as_secs_f64()),
                format!("{:.1}", theirs.as_secs_f64() / taken.as_secs_f64()),
                format!("{error:.1e}"),
            ]);
        }
    }
    let header = [
        "method",
        "r",
        "clients",
        "s",
        "dense formulas, s",
        "ratio",
        "exactness error",
    ];
    table::print(&header, &rows);
    Ok(())
}

fn layers() -> Vec<LinearLayer> {
    let layer = |i: i64| LinearLayer {
        module: format!("layer.{i}"),
        layer: i / 2,
        d_in: WIDTH,
        d_out: WIDTH,
        layout: WeightLayout::OutIn,
    };
    (0..LAYERS).map(layer).collect()
}

/// One aggregation from updates to the new state, the exactness error with it; its second time,
/// when memory has been asked for once.
fn ours(
    method: &str,
    adapter: AdapterKind,
    r: u32,
    clients: usize,
) -> anyhow::Result<(Duration, f64)> {
    let layers = layers();
    let adapter = AdapterPlan::plain(adapter, r).build(&layers);
    let adapter = adapter.map_err(anyhow::Error::msg)?;
    let method = methods::find(method).ok_or_else(|| anyhow::anyhow!("no such method"))?;
    let start = initial_state(&*adapter, &layers, 1, 0);
    let updates: Vec<_> = (0..clients)
        .map(|client| update(&*adapter, &layers, &start, client))
        .collect();
    let updates: Vec<_> = updates.iter().collect();
    let weights = vec![1.0 / clients as f64; clients];
    let groups = LayerGroup::of(&layers);
    let mut last = (Duration::ZERO, 0.0);
    for _ in 0..2 {
        let mut state = GlobalState {
            trained: start.clone(),
            base_delta: TensorMap::default(),
        };
        let round = Round {
            round: 1,
            adapter: &*adapter,
            groups: &groups,
            updates: WeightedUpdates {
                state: &start,
                updates: &updates,
                weights: &weights,
                device: Device::Cpu,
            },
            residual_scale: 1.0,
            seed: 1,
        };
        let begin = Instant::now();
        let report = method.method.aggregate(&round, &mut state)?;
        last = (begin.elapsed(), report.exactness_error);
    }
    Ok(last)
}

/// The start plus noise, in what clients train.
fn update(
    adapter: &dyn Adapter,
    layers: &[LinearLayer],
    start: &TensorMap,
    client: usize,
) -> TensorMap {
    let mut stream = Stream::seed_from_u64(client as u64);
    let mut update = TensorMap::default();
    for layer in layers {
        for tensor in adapter.tensors(layer) {
            let name = tensor_name(layer, tensor.suffix);
            if let Some(value) = start.get(&name)
                && tensor.role != regatta::adapter::Role::Server
            {
                let mut value = value.clone();
                let values = value.values_mut().iter_mut();
                values.for_each(|x| *x += stream.random_range(-0.05..0.05_f32));
                update.insert(name, value);
            }
        }
    }
    update
}

fn random(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.05
}

/// `Σ pᵢ Bᵢ Aᵢ − B̄ Ā` in dense products, added to the weight.
fn dense_lora(r: i64, clients: usize) -> anyhow::Result<Duration> {
    let mut taken = Duration::ZERO;
    for _ in 0..LAYERS {
        let a: Vec<_> = (0..clients).map(|_| random(&[r, WIDTH])).collect();
        let b: Vec<_> = (0..clients).map(|_| random(&[WIDTH, r])).collect();
        let mut weight = random(&[WIDTH, WIDTH]);
        let begin = Instant::now();
        let products: Vec<_> = a.iter().zip(&b).map(|(a, b)| b.matmul(a)).collect();
        let mean = |tensors: &[Tensor]| Tensor::stack(tensors, 0).mean_dim(0, false, Kind::Float);
        weight += mean(&products) - mean(&b).matmul(&mean(&a));
        taken += begin.elapsed();
    }
    Ok(taken)
}

/// The same for `diag(b) B diag(d) A`.
fn dense_vera(r: i64, clients: usize) -> anyhow::Result<Duration> {
    let (a, b) = (random(&[r, WIDTH]), random(&[WIDTH, r]));
    let update = |lambda_b: &Tensor, lambda_d: &Tensor| {
        (lambda_b.unsqueeze(1) * &b).matmul(&(lambda_d.unsqueeze(1) * &a))
    };
    let mut taken = Duration::ZERO;
    for _ in 0..LAYERS {
        let lambda_b: Vec<_> = (0..clients).map(|_| random(&[WIDTH])).collect();
        let lambda_d: Vec<_> = (0..clients).map(|_| random(&[r])).collect();
        let mut weight = random(&[WIDTH, WIDTH]);
        let begin = Instant::now();
        let pairs = lambda_b.iter().zip(&lambda_d);
        let products: Vec<_> = pairs.map(|(b, d)| update(b, d)).collect();
        let mean = |tensors: &[Tensor]| Tensor::stack(tensors, 0).mean_dim(0, false, Kind::Float);
        weight += mean(&products) - update(&mean(&lambda_b), &mean(&lambda_d));
        taken += begin.elapsed();
    }
    Ok(taken)
}

/// The rotations of all clients by chains of products, and an SVD of the dense mean update.
fn dense_sorf(r: i64, clients: usize) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let rotation = Tensor::eye(r, (Kind::Float, Device::Cpu));
    for p in 0..r {
        for q in p + 1..r {
            let (mut first, mut second) = (rotation.get(p), rotation.get(q));
            let (x, y) = (first.copy(), second.copy());
            let (sin, cos) = 0.01_f64.sin_cos();
            first.copy_(&(&x * cos - &y * sin));
            second.copy_(&(&x * sin + &y * cos));
        }
    }
    let one_rotation = begin.elapsed();
    let (left, right) = (random(&[WIDTH, r]), random(&[r, WIDTH]));
    let begin = Instant::now();
    let dense = left.matmul(&rotation.mm(&right));
    drop(std::hint::black_box(dense.svd(true, true)));
    let one_decomposition = begin.elapsed();
    let rotations = u32::try_from(LAYERS * clients as i64)?;
    Ok(one_rotation * rotations + one_decomposition * u32::try_from(LAYERS)?)
}
