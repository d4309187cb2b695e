//! A training step on random tokens, and its matrix products alone.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::adapter::{initial_state, registry};
use regatta::model::dropout::Masks;
use regatta::model::encoder::config::EncoderConfig;
use regatta::model::inputs::Inputs;
use regatta::model::linear_layer::LinearLayer;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::optimizers::adamw::AdamW;
use regatta::train::replica::{Replica, RoundModel};
use regatta_actors::random::Stream;
use tch::{Device, Kind, Tensor};

const LABELS: i64 = 2;

/// The sizes of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Examples.
    pub rows: i64,
    /// Tokens of each.
    pub tokens: i64,
}

/// A client's model with its optimiser.
pub struct Bench {
    /// The model's sizes.
    pub config: EncoderConfig,
    replica: Replica,
    optimizer: AdamW,
    masks: Masks,
}

impl Bench {
    /// A client's model with an adapter on query and value.
    pub fn new(model: &Path, adapter: &str, r: u32, dropout: bool) -> anyhow::Result<Self> {
        let objective = Objective::classes(LABELS as usize);
        let mut checkpoint = Checkpoint::read(model, &objective, 1)?;
        if !dropout {
            checkpoint.architecture = checkpoint.architecture.with_dropout(0.0);
        }
        let architecture = checkpoint.architecture;
        let config = EncoderConfig::read(&model.join("config.json"))?;
        let ends = ["query", "value"];
        let adapted = |layer: &LinearLayer| ends.iter().any(|end| layer.module.ends_with(end));
        let layers: Vec<_> = architecture
            .linear_layers()
            .into_iter()
            .filter(adapted)
            .collect();
        let plan = plan(adapter, r, dropout)?;
        let build = registry::find(adapter).ok_or_else(|| anyhow::anyhow!("no such adapter"))?;
        let adapter = build(&plan, &layers).map_err(anyhow::Error::msg)?;
        let mut trained = initial_state(&*adapter, &layers, 1, 0);
        trained.0.extend(checkpoint.head.0);
        let base = Weights::from_map(&checkpoint.base, Device::Cpu)?;
        let shared = RoundModel::new(base, &trained, &*adapter, &layers, Device::Cpu)?;
        let own = shared.state.clone();
        let trains = |name: &str| !name.contains("sorf_b_");
        let replica = Replica::new(&shared, &*architecture, &objective, &layers, own, trains)?;
        let optimizer = AdamW::new(replica.leaves(), 0.01)?;
        let masks = Masks::new(Stream::seed_from_u64(1));
        Ok(Self {
            config,
            replica,
            optimizer,
            masks,
        })
    }

    /// Forward, backward and optimiser: how long each took.
    pub fn step(&mut self, batch: &Batch) -> anyhow::Result<[Duration; 3]> {
        let len = usize::try_from(batch.rows * batch.tokens)?;
        let vocabulary = usize::try_from(self.config.vocab_size)? - 10;
        let ids: Vec<i64> = (0..len)
            .map(|i| 5 + (i * 7919 % vocabulary) as i64)
            .collect();
        let (ones, zeros) = (vec![1; len], vec![0; len]);
        let start = Instant::now();
        let inputs = Inputs::new(batch.rows, &ids, &ones, &zeros, Device::Cpu)?;
        let labels: Vec<f32> = (0..batch.rows).map(|row| (row % LABELS) as f32).collect();
        let logits = self.replica.model.outputs(&inputs, Some(&self.masks))?;
        let loss = self
            .replica
            .model
            .loss(&logits, &Tensor::from_slice(&labels))?;
        let forward = start.elapsed();
        self.replica.backward(&loss)?;
        let backward = start.elapsed() - forward;
        self.optimizer.step(1e-4)?;
        Ok([forward, backward, start.elapsed() - forward - backward])
    }
}

/// The settings of an adapter on query and value.
pub fn plan(adapter: &str, r: u32, dropout: bool) -> anyhow::Result<AdapterPlan> {
    let kind = match adapter {
        "lora" => AdapterKind::Lora,
        "vera" => AdapterKind::Vera,
        "sorf_vera" => AdapterKind::SorfVera,
        other => anyhow::bail!("no adapter is called {other}"),
    };
    let drops = dropout && kind == AdapterKind::Lora;
    Ok(AdapterPlan {
        dropout: if drops { 0.1 } else { 0.0 },
        ..AdapterPlan::plain(kind, r)
    })
}

/// Matrices, and how often their product is taken.
pub struct Products(Vec<(Tensor, Tensor, i64)>);

impl Products {
    /// Takes all products.
    pub fn run(&mut self) -> anyhow::Result<()> {
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
pub fn products(config: &EncoderConfig, r: u32, batch: &Batch) -> anyhow::Result<Products> {
    let random = |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu));
    let (h, wide, layers) = (
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
    );
    let (n, r, t) = (batch.rows * batch.tokens, i64::from(r), batch.tokens);
    let heads = batch.rows * config.num_attention_heads;
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
