//! A client's model: shared frozen weights, overlaid with its own tensors.

use std::collections::HashMap;
use std::rc::Rc;

use tch::{Device, Tensor};

use crate::adapter::{Adapter, Prepared};
use crate::base::tensors::TensorMap;
use crate::model::ModelError;
use crate::model::architecture::{Architecture, Model};
use crate::model::delta::Delta;
use crate::model::joint_delta::JointDelta;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::weights::{Deltas, View, Weights};

/// What all clients of a lane share during a round: the base as the server has it, and what the
/// adapter precomputed.
pub struct RoundModel {
    /// The frozen weights with the server's base delta added.
    pub base: Weights,
    /// The adapter's constants of the round.
    pub prepared: Box<dyn Prepared>,
    /// The server's trained tensors, on the device.
    pub state: Weights,
}

impl RoundModel {
    /// Puts the server's trained tensors on the device and prepares the adapter.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    pub fn new(
        base: Weights,
        trained: &TensorMap,
        adapter: &dyn Adapter,
        layers: &[LinearLayer],
        device: Device,
    ) -> Result<Self, ModelError> {
        let state = Weights::from_map(trained, device)?;
        let prepared = adapter.prepare(layers, &state, device)?;
        Ok(Self {
            base,
            prepared,
            state,
        })
    }
}

/// A model with one client's tensors, which gather gradients when they are trained.
pub struct Replica {
    /// The model.
    pub model: Box<dyn Model>,
    /// The tensors that the client trains, by name in order.
    leaves: Vec<(String, Tensor)>,
    /// The attached adapters.
    deltas: Vec<Rc<dyn Delta>>,
}

impl Replica {
    /// A replica over shared weights. `trained` are the client's tensors; those that `trains`
    /// names gather gradients.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(
        shared: &RoundModel,
        architecture: &dyn Architecture,
        objective: &Objective,
        layers: &[LinearLayer],
        trained: Weights,
        trains: impl Fn(&str) -> bool,
    ) -> Result<Self, ModelError> {
        let mut own = HashMap::new();
        let mut leaves = Vec::new();
        for (name, tensor) in trained.tensors {
            let leaf = if trains(&name) {
                // A copy: the shared state must not change under the other clients.
                let mut leaf = tensor.f_detach()?.f_empty_like()?;
                leaf.f_copy_(&tensor)?;
                let leaf = leaf.f_set_requires_grad(true)?;
                leaves.push((name.clone(), leaf.shallow_clone()));
                leaf
            } else {
                tensor
            };
            own.insert(name, leaf);
        }
        leaves.sort_by(|a, b| a.0.cmp(&b.0));
        let own = Weights::of(own);
        let mut attached = Deltas::new();
        let all = shared.prepared.attach_all(layers, &own)?;
        for (layer, delta) in layers.iter().zip(all) {
            attached.insert(layer.module.clone(), delta);
        }
        let model = architecture.build(&View::adapted(&shared.base, &own, &attached), objective)?;
        let deltas = layers
            .iter()
            .filter_map(|layer| attached.remove(&layer.module))
            .collect();
        Ok(Self {
            model,
            leaves,
            deltas,
        })
    }

    /// The model of several clients that are trained together, whose adapters change each its own
    /// client's batch. It has no tensors of its own: gradients reach those of the clients' replicas.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn joint(
        shared: &RoundModel,
        architecture: &dyn Architecture,
        objective: &Objective,
        layers: &[LinearLayer],
        clients: &[Replica],
    ) -> Result<Self, ModelError> {
        let mut attached = Deltas::new();
        let mut deltas = Vec::with_capacity(layers.len());
        for (at, layer) in layers.iter().enumerate() {
            let of_clients = clients.iter().map(|client| client.deltas[at].clone());
            let delta: Rc<dyn Delta> = Rc::new(JointDelta {
                of_clients: of_clients.collect(),
            });
            attached.insert(layer.module.clone(), delta.clone());
            deltas.push(delta);
        }
        let root = View::adapted(&shared.base, &shared.state, &attached);
        Ok(Self {
            model: architecture.build(&root, objective)?,
            leaves: Vec::new(),
            deltas,
        })
    }

    /// The trained tensors, in name order.
    pub fn leaves(&self) -> impl Iterator<Item = &Tensor> {
        self.leaves.iter().map(|(_, leaf)| leaf)
    }

    /// The gradient of each trained tensor that has one, by name.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn gradients(&self) -> Result<Vec<(&str, Tensor)>, ModelError> {
        let mut gradients = Vec::new();
        for (name, leaf) in &self.leaves {
            let gradient = leaf.f_grad()?;
            if gradient.defined() {
                gradients.push((name.as_str(), gradient));
            }
        }
        Ok(gradients)
    }

    /// Backward pass from a loss to the trained tensors.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn backward(&self, loss: &Tensor) -> Result<(), ModelError> {
        loss.f_backward()?;
        self.model.finish_backward()?;
        self.deltas
            .iter()
            .try_for_each(|delta| delta.finish_backward())
    }

    /// Copies the trained tensors to the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn update(&self) -> Result<TensorMap, ModelError> {
        let leaves = self.leaves.iter().map(|(name, leaf)| (name.as_str(), leaf));
        Ok(TensorMap::from_tensors(leaves)?)
    }
}
