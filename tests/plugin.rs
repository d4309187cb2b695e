//! An adapter from outside the crate: `ΔW = u vᵀ`, of rank one. It trains, and the exact methods
//! aggregate it exactly, without a line changed inside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::rc::Rc;

use regatta::adapter::factors::Factors;
use regatta::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use regatta::adapter::targets::Targets;
use regatta::adapter::{Adapter, AdapterTensor, Prepared, Role, initial_state};
use regatta::aggregate::Round;
use regatta::aggregate::methods;
use regatta::aggregate::state::GlobalState;
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::ModelError;
use regatta::model::delta::Delta;
use regatta::model::dropout::Masks;
use regatta::model::inputs::Inputs;
use regatta::model::linear_layer::LinearLayer;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::optimizers::adamw::AdamW;
use regatta::train::replica::{Replica, RoundModel};
use tch::{Device, Tensor};

const U: &str = "outer_u";
const V: &str = "outer_v";

#[derive(Clone)]
struct Outer;

impl Adapter for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }

    fn tensors(&self, layer: &LinearLayer) -> Vec<AdapterTensor> {
        vec![
            AdapterTensor {
                suffix: U,
                shape: vec![layer.d_out],
                role: Role::Linear,
            },
            AdapterTensor {
                suffix: V,
                shape: vec![layer.d_in],
                role: Role::Trained,
            },
        ]
    }

    fn initial(&self, layer: &LinearLayer, _seed: u64, _round: u32) -> Vec<HostTensor> {
        vec![
            HostTensor::full(&[layer.d_out], 0.0),
            HostTensor::full(&[layer.d_in], 0.1),
        ]
    }

    fn prepare(
        &self,
        _layers: &[LinearLayer],
        _state: &Weights,
        _device: Device,
    ) -> Result<Box<dyn Prepared>, ModelError> {
        Ok(Box::new(self.clone()))
    }

    fn rank(&self, _group: &LayerGroup, updates: usize) -> i64 {
        updates as i64
    }

    fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError> {
        let weights = updates.weights()?.view([-1, 1, 1]);
        let left = (updates.stack(group, U)? * weights).permute([1, 2, 0]);
        Ok(Factors {
            left,
            right: updates.stack(group, V)?.transpose(0, 1),
        })
    }
}

impl Prepared for Outer {
    fn attach(&self, layer: &LinearLayer, own: &Weights) -> Result<Rc<dyn Delta>, ModelError> {
        let tensor = |suffix| own.get(&tensor_name(layer, suffix));
        Ok(Rc::new(OuterDelta {
            u: tensor(U)?,
            v: tensor(V)?,
        }))
    }
}

struct OuterDelta {
    u: Tensor,
    v: Tensor,
}

impl Delta for OuterDelta {
    fn forward(&self, x: &Tensor, _masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        Ok(x.f_matmul(&self.v)?.f_unsqueeze(-1)?.f_mul(&self.u)?)
    }
}

fn checkpoint() -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model/roberta-2");
    Checkpoint::read(&folder, &Objective::classes(2), 0).unwrap()
}

fn layers(checkpoint: &Checkpoint) -> Vec<LinearLayer> {
    let targets = Targets {
        modules: vec!["query".into()],
        layers: None,
        pattern: None,
    };
    targets.choose(&*checkpoint.architecture)
}

#[test]
fn an_adapter_from_outside_trains() {
    let checkpoint = checkpoint();
    let layers = layers(&checkpoint);
    let mut trained = initial_state(&Outer, &layers, 0, 0);
    trained.0.extend(checkpoint.head.clone().0);
    let frozen = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    let shared = RoundModel::new(frozen, &trained, &Outer, &layers, Device::Cpu).unwrap();
    let own = shared.state.clone();
    let (architecture, objective) = (&*checkpoint.architecture, Objective::classes(2));
    let replica = Replica::new(&shared, architecture, &objective, &layers, own, |_| true).unwrap();
    let ids: Vec<i64> = (0..24).map(|i| 5 + i * 17 % 400).collect();
    let inputs = Inputs::new(4, &ids, &[1; 24], &[0; 24], Device::Cpu).unwrap();
    let labels = Labels::rows(&[0.0, 1.0, 1.0, 0.0], Device::Cpu).unwrap();
    let mut optimizer = AdamW::new(replica.leaves(), 0.0).unwrap();
    let mut losses = Vec::new();
    for _ in 0..8 {
        let logits = replica.model.outputs(&inputs, None).unwrap();
        let loss = replica.model.loss(&logits, &labels, 0.0).unwrap();
        losses.push(loss.mean.double_value(&[]));
        replica.backward(&loss.graph).unwrap();
        optimizer.step(1e-2).unwrap();
    }
    assert!(losses[7] < 0.5 * losses[0], "{losses:?}");
    let update = replica.update().unwrap();
    let moved = |name: &str| update.get(name) != trained.get(name);
    assert!(moved(&tensor_name(&layers[0], U)) && moved(&tensor_name(&layers[0], V)));
}

#[test]
fn the_exact_method_aggregates_an_adapter_from_outside_exactly() {
    let checkpoint = checkpoint();
    let layers = layers(&checkpoint);
    let groups = LayerGroup::of(&layers);
    let start = initial_state(&Outer, &layers, 0, 0);
    let update = |client: usize| {
        let change = |(name, tensor): (&str, &HostTensor)| {
            let mut tensor = tensor.clone();
            for (i, x) in tensor.values_mut().iter_mut().enumerate() {
                *x += ((client * 2 + i * 5 + name.len()) as f32).sin();
            }
            (name.to_owned(), tensor)
        };
        start.iter().map(change).collect::<TensorMap>()
    };
    let updates = [update(1), update(2), update(3)];
    let borrowed: Vec<&TensorMap> = updates.iter().collect();
    let population = WeightedUpdates {
        state: &start,
        updates: &borrowed,
        weights: &[0.2, 0.5, 0.3],
        device: Device::Cpu,
    };
    let miss = |method: &str| {
        let round = Round {
            round: 1,
            adapter: &Outer,
            groups: &groups,
            updates: population,
            residual_scale: 1.0,
            seed: 0,
        };
        let mut state = GlobalState {
            trained: start.clone(),
            ..GlobalState::default()
        };
        methods::find(method)
            .unwrap()
            .method
            .aggregate(&round, &mut state)
            .unwrap()
            .exactness_error
    };
    assert!(miss("fedex") < 1e-6);
    assert!(miss("fedit") > 0.1, "plain averaging misses much of it");
}
