//! Training steps of a model with LoRA on random tokens, on several lanes at once.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use tch::{Device, Kind};

use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::base::torch;
use crate::cli::doctor::calibrate::divisions::Division;
use crate::model::ModelError;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::weights::Weights;
use crate::train::probe::{Probe, RandomBatch};

const ROWS: i64 = 16;
const TOKENS: i64 = 64;
/// Steps that each lane takes per thread, so that all divisions do the same work.
const STEPS: u32 = 2;

/// A model to train on lanes.
pub struct Workload {
    probe: Probe,
    base: Weights,
    batch: RandomBatch,
}

impl Workload {
    /// The model with LoRA of rank 4 on the layers that PEFT adapts by default.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let probe = Probe::new(checkpoint, &lora())?;
        Ok(Self {
            base: Weights::frozen(&checkpoint.base, &checkpoint.quantised, Device::Cpu)?,
            batch: RandomBatch::new(&*checkpoint.architecture, ROWS, TOKENS),
            probe,
        })
    }

    /// Examples that a division trains per second, with layers multiplied in `kind`.
    ///
    /// # Errors
    /// If libtorch fails in a lane.
    pub fn rate(&self, division: Division, kind: Kind) -> Result<f64, ModelError> {
        let barrier = Barrier::new(division.lanes as usize + 1);
        let seconds = thread::scope(|scope| {
            let lane = |_| {
                let lane = LaneShare {
                    probe: &self.probe,
                    batch: &self.batch,
                    kind,
                    threads: division.threads,
                    barrier: &barrier,
                };
                // Tensors are not shared between threads: each has its own handles to them.
                let base = self.base.clone();
                scope.spawn(move || lane.train(base))
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

/// What a lane trains.
struct LaneShare<'a> {
    probe: &'a Probe,
    batch: &'a RandomBatch,
    kind: Kind,
    threads: u32,
    barrier: &'a Barrier,
}

impl LaneShare<'_> {
    /// Takes a step untimed, waits for the others, and takes its share.
    fn train(&self, base: Weights) -> Result<(), ModelError> {
        torch::threads::use_threads(self.threads);
        let ready = self
            .probe
            .training(base, self.kind)
            .and_then(|mut training| {
                training.step(self.batch)?;
                Ok(training)
            });
        // Whatever became of it: the others wait.
        self.barrier.wait();
        let mut training = ready?;
        (0..STEPS * self.threads).try_for_each(|_| training.step(self.batch).map(drop))
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
    use std::sync::Arc;

    use super::*;
    use crate::model::source::known::known_encoder;
    use crate::train::probe::objective;

    #[test]
    fn lanes_train_side_by_side_and_a_failing_one_ends_the_measure() {
        let mut config = known_encoder("minilm-l6").unwrap();
        (
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
        ) = (20, 24, 24);
        config.num_hidden_layers = 1;
        let objective = objective(&config);
        let checkpoint = Checkpoint::random(Arc::new(config), &objective, 0).unwrap();
        let mut workload = Workload::new(&checkpoint).unwrap();
        let division = Division {
            lanes: 2,
            threads: 1,
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            assert!(workload.rate(division, kind).unwrap() > 0.0);
        }
        workload.base.tensors.remove("bert.pooler.dense.bias");
        let error = workload.rate(division, Kind::Float).unwrap_err();
        assert!(error.to_string().contains("pooler.dense.bias"), "{error}");
    }
}
