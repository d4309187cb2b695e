//! Training steps of an encoder with LoRA on random tokens, on several lanes at once.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use regatta_actors::random::Stream;
use tch::{Device, Tensor};

use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::adapter::{Adapter, initial_state};
use crate::base::tensors::TensorMap;
use crate::base::torch;
use crate::cli::doctor::calibrate::divisions::Division;
use crate::model::ModelError;
use crate::model::config::{LinearLayer, ModelConfig};
use crate::model::dropout::Masks;
use crate::model::heads::classifier::loss;
use crate::model::inputs::Inputs;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::weights::Weights;
use crate::train::optimizers::adamw::AdamW;
use crate::train::replica::{Replica, RoundModel};

const LABELS: i64 = 2;
const ROWS: i64 = 16;
const TOKENS: i64 = 64;
/// Steps that each lane takes per thread, so that all divisions do the same work.
const STEPS: u32 = 2;

/// A model to train on lanes.
pub struct Workload {
    config: ModelConfig,
    base: Weights,
    trained: TensorMap,
    layers: Vec<LinearLayer>,
    adapter: Arc<dyn Adapter>,
}

impl Workload {
    /// The model with LoRA of rank 4 on query and value.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn new(checkpoint: Checkpoint) -> Result<Self, ModelError> {
        let config = checkpoint.config;
        let ends = ["query", "value"];
        let adapted = |layer: &LinearLayer| ends.iter().any(|end| layer.module.ends_with(end));
        let layers: Vec<_> = config.linear_layers().into_iter().filter(adapted).collect();
        let plan = lora();
        let adapter = plan.build(&layers).map_err(ModelError::Refused)?;
        let mut trained = initial_state(&*adapter, &layers, 0, 0);
        trained.0.extend(checkpoint.head.0);
        Ok(Self {
            base: Weights::from_map(&checkpoint.base, Device::Cpu)?,
            config,
            trained,
            layers,
            adapter,
        })
    }

    /// Examples that a division trains per second.
    ///
    /// # Errors
    /// If libtorch fails in a lane.
    pub fn rate(&self, division: Division) -> Result<f64, ModelError> {
        let barrier = Barrier::new(division.lanes as usize + 1);
        let seconds = thread::scope(|scope| {
            let barrier = &barrier;
            let lane = |_| {
                let base = self.base.clone();
                let work = LaneTensors {
                    config: &self.config,
                    trained: &self.trained,
                    layers: &self.layers,
                    adapter: &*self.adapter,
                    division,
                };
                scope.spawn(move || work.run(base, barrier))
            };
            let lanes: Vec<_> = (0..division.lanes).map(lane).collect();
            barrier.wait();
            let start = Instant::now();
            for lane in lanes {
                let ended = lane.join();
                ended.unwrap_or_else(|_| Err(ModelError::Refused("a lane panicked".into())))?;
            }
            Ok::<_, ModelError>(start.elapsed().as_secs_f64())
        })?;
        let examples = division.lanes * division.threads * STEPS * ROWS as u32;
        Ok(f64::from(examples) / seconds)
    }
}

/// What the threads share: `Workload` without its tensors, which each has its own handles to.
struct LaneTensors<'a> {
    config: &'a ModelConfig,
    trained: &'a TensorMap,
    layers: &'a [LinearLayer],
    adapter: &'a dyn Adapter,
    division: Division,
}

impl LaneTensors<'_> {
    /// Takes a step untimed, waits for the others, and takes its share.
    fn run(&self, base: Weights, barrier: &Barrier) -> Result<(), ModelError> {
        torch::threads::use_threads(self.division.threads);
        let ready = self.prepare(base);
        // Whatever became of it: the others wait.
        barrier.wait();
        let mut training = ready?;
        (0..STEPS * self.division.threads).try_for_each(|_| training.step())
    }

    fn prepare(&self, base: Weights) -> Result<Training, ModelError> {
        let (layers, device) = (self.layers, Device::Cpu);
        let shared = RoundModel::new(base, self.trained, self.adapter, layers, device)?;
        let own = shared.state.clone();
        let replica = Replica::new(&shared, self.config, LABELS, layers, own, |_| true)?;
        let mut training = Training {
            optimizer: AdamW::new(replica.leaves(), 0.01)?,
            replica,
            masks: Masks::new(Stream::seed_from_u64(0)),
            tokens: random_tokens(self.config),
        };
        training.step()?;
        Ok(training)
    }
}

fn random_tokens(config: &ModelConfig) -> Vec<i64> {
    let mut stream = Stream::seed_from_u64(0);
    // Beyond the special tokens, the padding among them, where there are as many.
    let first = 5.min(config.vocab_size - 1);
    let token = |_| stream.random_range(first..config.vocab_size);
    (0..ROWS * TOKENS.min(config.max_tokens()))
        .map(token)
        .collect()
}

struct Training {
    replica: Replica,
    optimizer: AdamW,
    masks: Masks,
    tokens: Vec<i64>,
}

impl Training {
    fn step(&mut self) -> Result<(), ModelError> {
        let (ones, zeros) = (vec![1; self.tokens.len()], vec![0; self.tokens.len()]);
        let inputs = Inputs::new(ROWS, &self.tokens, &ones, &zeros, Device::Cpu)?;
        let labels: Vec<f32> = (0..ROWS).map(|row| (row % LABELS) as f32).collect();
        let logits = self.replica.model.logits(&inputs, Some(&self.masks))?;
        self.replica
            .backward(&loss(&logits, &Tensor::f_from_slice(&labels)?)?)?;
        self.optimizer.step(1e-4)
    }
}

fn lora() -> AdapterPlan {
    AdapterPlan {
        dropout: 0.1,
        ..AdapterPlan::plain(AdapterKind::Lora, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::architecture::Architecture;

    #[test]
    fn lanes_train_side_by_side_and_a_failing_one_ends_the_measure() {
        let mut config = Architecture::Named("minilm-l6").config().unwrap();
        (
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
        ) = (20, 24, 24);
        config.num_hidden_layers = 1;
        let checkpoint = Checkpoint::random(config, LABELS, 0).unwrap();
        let mut workload = Workload::new(checkpoint).unwrap();
        let division = Division {
            lanes: 2,
            threads: 1,
        };
        assert!(workload.rate(division).unwrap() > 0.0);
        workload.base.0.remove("bert.pooler.dense.bias");
        let error = workload.rate(division).unwrap_err();
        assert!(error.to_string().contains("pooler.dense.bias"), "{error}");
    }
}
