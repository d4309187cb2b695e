//! Training steps on random tokens: what calibration and benchmarks time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use regatta_actors::random::Stream;
use tch::{Device, Kind};

use crate::adapter::population::tensor_name;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::{Adapter, Role, initial_state};
use crate::base::tensors::TensorMap;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::dropout::Masks;
use crate::model::inputs::Inputs;
use crate::model::linear_layer::LinearLayer;
use crate::model::loss::Labels;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::weights::Weights;
use crate::train::optimizers::adamw::AdamW;
use crate::train::precision::Compute;
use crate::train::replica::{Replica, RoundModel};

/// Classes that a classifier is trained to give.
const CLASSES: usize = 2;

/// What the model is trained to give: one of two classes, or the next token if it has no head for
/// classes.
#[must_use]
pub fn objective(architecture: &dyn Architecture) -> Objective {
    let classes = Objective::classes(CLASSES);
    match architecture.check_objective(&classes) {
        Ok(()) => classes,
        Err(_) => Objective::NextToken,
    }
}

/// A model with an adapter on the layers that PEFT adapts by default, ready to be trained on any thread.
pub struct Probe {
    architecture: Arc<dyn Architecture>,
    layers: Vec<LinearLayer>,
    adapter: Arc<dyn Adapter>,
    /// The first values of adapter and head.
    trained: TensorMap,
}

impl Probe {
    /// The model of a checkpoint, which has the head for its [`objective`].
    ///
    /// # Errors
    /// If the adapter does not fit the model.
    pub fn new(checkpoint: &Checkpoint, plan: &AdapterPlan) -> Result<Self, ModelError> {
        let architecture = Arc::clone(&checkpoint.architecture);
        let ends = architecture.default_targets();
        let adapted = |layer: &LinearLayer| ends.iter().any(|end| layer.module.ends_with(end));
        let layers: Vec<_> = architecture
            .linear_layers()
            .into_iter()
            .filter(adapted)
            .collect();
        let adapter = plan.build(&layers).map_err(ModelError::Refused)?;
        let mut trained = initial_state(&*adapter, &layers, 0, 0);
        trained.0.extend(checkpoint.head.0.clone());
        Ok(Self {
            architecture,
            layers,
            adapter,
            trained,
        })
    }

    /// A client's training on this thread, over the checkpoint's base, on the CPU; layers are multiplied
    /// in `kind`, which is float32 or bfloat16.
    ///
    /// # Errors
    /// If a tensor is missing or libtorch fails.
    pub fn training(&self, base: Weights, kind: Kind) -> Result<ProbeTraining, ModelError> {
        let (layers, adapter) = (&self.layers, &*self.adapter);
        let mut base = base;
        if kind == Kind::BFloat16 {
            base.pack(&self.architecture.linear_layers())?;
            base.pack_output(self.architecture.output_table())?;
        }
        let shared = RoundModel::new(base, &self.trained, adapter, layers, Device::Cpu)?;
        let own = shared.state.clone();
        let fixed = self.fixed();
        let trains = |name: &str| !fixed.contains(name);
        let objective = objective(&*self.architecture);
        let replica = Replica::new(
            &shared,
            &*self.architecture,
            &objective,
            layers,
            own,
            trains,
        )?;
        Ok(ProbeTraining {
            optimizer: AdamW::new(replica.leaves(), 0.01)?,
            objective,
            replica,
            compute: Compute {
                device: Device::Cpu,
                kind,
            },
            masks: Masks::new(Stream::seed_from_u64(0)),
        })
    }

    /// Names of the tensors that only the server changes.
    fn fixed(&self) -> BTreeSet<String> {
        let of_layer = |layer| {
            let tensors = self.adapter.tensors(layer).into_iter();
            let fixed = tensors.filter(|tensor| tensor.role == Role::Server);
            fixed.map(move |tensor| tensor_name(layer, tensor.suffix))
        };
        self.layers.iter().flat_map(of_layer).collect()
    }
}

/// A batch of random tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomBatch {
    rows: i64,
    ids: Vec<i64>,
}

impl RandomBatch {
    /// Texts of equal length, at most as long as the model takes.
    #[must_use]
    pub fn new(model: &dyn Architecture, rows: i64, tokens: i64) -> Self {
        let mut stream = Stream::seed_from_u64(0);
        // Beyond the special tokens, the padding among them, where there are as many.
        let first = 5.min(model.vocabulary() - 1);
        let token = |_| stream.random_range(first..model.vocabulary());
        let ids = (0..rows * tokens.min(model.max_tokens())).map(token);
        Self {
            rows,
            ids: ids.collect(),
        }
    }

    /// Classes in turn, or every token but each text's first.
    fn labels(&self, objective: &Objective) -> Result<Labels, ModelError> {
        if *objective != Objective::NextToken {
            let classes: Vec<f32> = (0..self.rows)
                .map(|row| (row % CLASSES as i64) as f32)
                .collect();
            return Labels::rows(&classes, Device::Cpu);
        }
        let tokens = self.ids.len() as i64 / self.rows.max(1);
        let places = (0..self.ids.len() as i64).filter(|place| (place + 1) % tokens > 0);
        let (places, next): (Vec<i64>, Vec<i64>) = places
            .map(|place| (place, self.ids[place as usize + 1]))
            .unzip();
        Labels::tokens(&places, &next, Device::Cpu)
    }
}

/// A client's model with its optimiser.
pub struct ProbeTraining {
    objective: Objective,
    replica: Replica,
    optimizer: AdamW,
    compute: Compute,
    masks: Masks,
}

impl ProbeTraining {
    /// Forward, backward and optimiser: how long each took.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step(&mut self, batch: &RandomBatch) -> Result<[Duration; 3], ModelError> {
        let (ones, zeros) = (vec![1; batch.ids.len()], vec![0; batch.ids.len()]);
        let start = Instant::now();
        let inputs = Inputs::new(batch.rows, &batch.ids, &ones, &zeros, Device::Cpu)?;
        let labels = batch.labels(&self.objective)?;
        let narrow = self.compute.autocast()?;
        let logits = self.replica.model.outputs(&inputs, Some(&self.masks))?;
        let _narrow = narrow.filter(|_| self.objective == Objective::NextToken);
        let loss = self.replica.model.loss(&logits, &labels, 0.0)?;
        let forward = start.elapsed();
        self.replica.backward(&loss.graph)?;
        let backward = start.elapsed() - forward;
        self.optimizer.step(1e-4)?;
        Ok([forward, backward, start.elapsed() - forward - backward])
    }
}
