//! Adapters: small trained updates `ΔW` added to frozen linear layers.
//!
//! | file | adapter | ΔW |
//! |---|---|---|
//! | [`lora`] | LoRA, rsLoRA | `B A` |
//! | [`vera`] | VeRA | `diag(b) B diag(d) A` |
//! | [`sorf`] | SORF-VeRA | `S Γ(b) B Λ(m, θ) A` |
//!
//! A layer with an adapter computes `y = W₀ x + bias + s ΔW x`. Every ΔW is a product of two thin
//! [`Factors`], which is all that aggregation, the exactness error and exports need to know.
//! To add an adapter: implement [`Adapter`] in its own file, write its row
//! ([`info::AdapterInfo`]) there, and name the row in [`registry`].
//!
//! | file | holds |
//! |---|---|
//! | [`factors`] | thin factors of updates, batched over layers of equal shape |
//! | [`population`] | many clients' tensors of one name as one stacked tensor |
//! | [`projection`] | the frozen random matrices that VeRA and SORF-VeRA share |
//! | [`settings`] | kind, rank, scaling and targets, as a plan holds them |
//! | [`info`] | what is known of a kind of adapter: its row |
//! | [`registry`] | the table of the rows |
//! | [`peft`] | adapters in the files of Python's PEFT |
//! | `pattern` | Python's regular expressions |
//! | `size` | what an adapter takes of memory |
//! | [`target_modules`] | which layers are to get an adapter, as a user says it |
//! | [`targets`] | which layers of a model that are |
//! | `torch_random` | the draws of torch's CPU generator, without its global state |

pub mod factors;
pub mod info;
pub mod lora;
pub(crate) mod pattern;
pub mod peft;
pub mod population;
pub mod projection;
pub mod registry;
pub mod settings;
pub(crate) mod size;
pub mod sorf;
pub mod target_modules;
pub mod targets;
pub(crate) mod torch_random;
pub mod vera;

use std::any::Any;
use std::rc::Rc;

use tch::Device;

use crate::adapter::factors::Factors;
use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;
use crate::model::delta::Delta;
use crate::model::linear_layer::LinearLayer;
use crate::model::weights::Weights;

/// One tensor that an adapter keeps per adapted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterTensor {
    /// Its name below the layer's module, as PEFT spells it: `lora_A.weight`.
    pub suffix: &'static str,
    /// Its shape.
    pub shape: Vec<i64>,
    /// The party that changes it.
    pub role: Role,
}

/// The party that changes an adapter's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Clients train it, and ΔW is linear in all tensors of this role together while the others
    /// are fixed, so that their mean gives the mean of the updates. What FFA trains.
    Linear,
    /// Clients train it.
    Trained,
    /// The server alone sets it.
    Server,
}

/// A kind of adapter with its settings.
pub trait Adapter: Any + Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The tensors that it keeps for a layer.
    fn tensors(&self, layer: &LinearLayer) -> Vec<AdapterTensor>;

    /// The first value of each of these, in their order, drawn from the run's seed. Methods that
    /// reset the adapter after a round ask for that round's; the run's first are round 0's.
    fn initial(&self, layer: &LinearLayer, seed: u64, round: u32) -> Vec<HostTensor>;

    /// The frozen random matrices, if it has any.
    fn projection(&self) -> Option<&projection::Projection> {
        None
    }

    /// Computes what is constant through a round on a device, from the server's state there.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    fn prepare(
        &self,
        layers: &[LinearLayer],
        state: &Weights,
        device: Device,
    ) -> Result<Box<dyn Prepared>, ModelError>;

    /// The rank of [`Adapter::factors`] of a group over N updates.
    fn rank(&self, group: &LayerGroup, updates: usize) -> i64;

    /// Factors of `Σ wᵢ s ΔWᵢ` over a population, with s the adapter's scaling, of as low a rank
    /// as the adapter's form allows; float64.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError>;
}

/// An adapter on a device, ready to attach one client's tensors after another.
pub trait Prepared {
    /// The contribution of the client's tensors to a layer.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    fn attach(&self, layer: &LinearLayer, trained: &Weights) -> Result<Rc<dyn Delta>, ModelError>;

    /// The contributions to all layers of a model, in their order: those of an adapter that does
    /// something once for all of them know of each other. By default each is for itself.
    ///
    /// # Errors
    /// As [`Self::attach`].
    fn attach_all(
        &self,
        layers: &[LinearLayer],
        trained: &Weights,
    ) -> Result<Vec<Rc<dyn Delta>>, ModelError> {
        let attach = |layer| self.attach(layer, trained);
        layers.iter().map(attach).collect()
    }
}

/// The first values of an adapter for all its layers, by full name.
#[must_use]
pub fn initial_state(
    adapter: &dyn Adapter,
    layers: &[LinearLayer],
    seed: u64,
    round: u32,
) -> TensorMap {
    let mut state = TensorMap::default();
    for layer in layers {
        let values = adapter.initial(layer, seed, round);
        for (tensor, value) in adapter.tensors(layer).iter().zip(values) {
            state.insert(tensor_name(layer, tensor.suffix), value);
        }
    }
    state
}
