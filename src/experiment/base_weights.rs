//! Frozen weights, once per device, shared by all lanes and clients there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use regatta_actors::ids::Digest;
use regatta_actors::workload::update::Payload;
use tch::{Device, Kind};

use crate::base::tensors::TensorMap;
use crate::base::torch;
use crate::experiment::payload::Snapshot;
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::model::linear_layer::LinearLayer;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::stacked_tensors::StackedTensors;
use crate::model::weights::{RoundedTensors, Weights};
use crate::train::precision::Compute;

/// The pretrained weights on every device in use, and with the latest base delta added.
pub struct BaseWeightCache {
    experiment: Arc<Experiment>,
    devices: PerDevice<DeviceBase>,
}

/// One device's weights.
struct DeviceBase {
    pretrained: Weights,
    /// Those that are held in the kind that the device multiplies in.
    rounded: RoundedTensors,
    /// Those that lie one below the other.
    stacked: StackedTensors,
    /// The same with a snapshot's base delta added to adapted layers, or beside their weights where
    /// these are held in fewer bits.
    current: Option<(Digest, Weights)>,
}

/// Something of each device, which one thread at a time looks at or makes: those of other devices
/// are not kept waiting.
struct PerDevice<T>(Mutex<HashMap<Device, Arc<Mutex<Option<T>>>>>);

impl<T> PerDevice<T> {
    /// That of a device, as far as it was made.
    fn of(&self, device: Device) -> Arc<Mutex<Option<T>>> {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(devices.entry(device).or_default())
    }
}

impl BaseWeightCache {
    /// No device yet; each is filled when its first lane asks.
    #[must_use]
    pub fn new(experiment: Arc<Experiment>) -> Self {
        Self {
            experiment,
            devices: PerDevice(Mutex::default()),
        }
    }

    /// The base as a snapshot has it, sharing the device's memory.
    ///
    /// The delta is added to the pretrained weight, not to last round's: a client that holds a
    /// snapshot gets the same bits, whichever rounds it missed.
    ///
    /// # Errors
    /// If the device fails.
    pub fn at(&self, snapshot: &Snapshot, device: Device) -> Result<Weights, ModelError> {
        // All lanes of a device read it, each in a stream of its own.
        torch::device::on_default_stream(device, || self.made_at(snapshot, device))
    }

    fn made_at(&self, snapshot: &Snapshot, device: Device) -> Result<Weights, ModelError> {
        let own = self.devices.of(device);
        // A lane that panicked while it held the lock left nothing half done: what is put in is
        // complete.
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let base = match &mut *own {
            Some(base) => base,
            none => {
                let compute = self.experiment.compute(device);
                none.insert(DeviceBase::new(&self.experiment.checkpoint, compute)?)
            }
        };
        let digest = snapshot.digest();
        if let Some((held, weights)) = &base.current
            && *held == digest
        {
            return Ok(weights.clone());
        }
        // Freed first: a device then never holds two sets of merged weights for the server's sake.
        base.current = None;
        let checkpoint = &self.experiment.checkpoint;
        let mut weights = base.with_delta(checkpoint, &snapshot.base_delta, device)?;
        if !weights.packed.is_empty() {
            let layers = checkpoint.architecture.linear_layers();
            let changed = |layer: &&LinearLayer| snapshot.base_delta.get(&layer.weight()).is_some();
            weights.pack(layers.iter().filter(changed))?;
        }
        base.current = Some((digest, weights.clone()));
        Ok(weights)
    }
}

impl DeviceBase {
    /// The pretrained weights, in what the device multiplies them in: a GPU in mixed precision has
    /// those of linear layers rounded, a CPU in bfloat16 packs them. A GPU has those of layers that take
    /// one input stacked.
    fn new(checkpoint: &Checkpoint, compute: Compute) -> Result<Self, ModelError> {
        let layers = checkpoint.architecture.linear_layers();
        let rounded = match (compute.device, compute.kind) {
            (Device::Cuda(_), kind @ (Kind::BFloat16 | Kind::Half)) => {
                RoundedTensors::of_layers(&layers, kind)
            }
            _ => RoundedTensors::default(),
        };
        let stacked = checkpoint.architecture.stacked_on(compute.device);
        let mut base = Self::held(checkpoint, compute.device, rounded, stacked)?;
        if (compute.device, compute.kind) == (Device::Cpu, Kind::BFloat16) {
            base.pretrained.pack(&layers)?;
            let output = checkpoint.architecture.output_table();
            base.pretrained.pack_output(output)?;
        }
        Ok(base)
    }

    fn held(
        checkpoint: &Checkpoint,
        device: Device,
        rounded: RoundedTensors,
        stacked: StackedTensors,
    ) -> Result<Self, ModelError> {
        let (base, quantised) = (&checkpoint.base, &checkpoint.quantised);
        let mut pretrained = Weights::frozen_and_rounded(base, quantised, device, &rounded)?;
        pretrained.stack(&stacked)?;
        Ok(Self {
            pretrained,
            rounded,
            stacked,
            current: None,
        })
    }

    /// The pretrained weights and a change to them.
    fn with_delta(
        &self,
        checkpoint: &Checkpoint,
        base_delta: &TensorMap,
        device: Device,
    ) -> Result<Weights, ModelError> {
        let mut weights = self.pretrained.clone();
        for (name, delta) in base_delta.iter() {
            if let Some(held) = self.pretrained.quantised.get(name) {
                // It stays beside the codes; on the processor, where the snapshot has it.
                let held = held.with(&delta.share(device)?)?;
                weights.quantised.insert(name.to_owned(), held);
                continue;
            }
            // What is rounded is the sum.
            let weight = match checkpoint.base.get(name) {
                Some(weight) if self.rounded.holds(name) => weight.to_tensor(device)?,
                _ => self.pretrained.get(name)?,
            };
            let merged = weight.f_add(&delta.to_tensor(device)?)?;
            let held = self.rounded.round(name, merged)?;
            weights.tensors.insert(name.to_owned(), held);
        }
        weights.stack(&self.stacked)?;
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;
    use crate::base::tensors::HostTensor;
    use crate::model::encoder::config::EncoderConfig;
    use crate::model::objective::Objective;
    use crate::model::source::known::{gpt2, known_encoder};
    use crate::model::weights::View;

    #[test]
    fn what_a_gpu_holds_rounded_is_the_sum_of_the_wide_weight_and_the_change_rounded_once() {
        let checkpoint =
            Checkpoint::random(Arc::new(gpt2(1, 64)), &Objective::NextToken, 1).unwrap();
        let layers = checkpoint.architecture.linear_layers();
        let rounded = RoundedTensors::of_layers(&layers, Kind::BFloat16);
        let stacked = StackedTensors::default();
        let base = DeviceBase::held(&checkpoint, Device::Cpu, rounded, stacked).unwrap();
        let (name, shape) = (layers[0].weight(), layers[0].weight_shape());
        let wide = checkpoint.base.get(&name).unwrap();
        // Less than a weight's last bit in bfloat16, for most.
        let change = (Tensor::arange(shape[0] * shape[1], (Kind::Float, Device::Cpu)).sin() * 1e-4)
            .view(shape);
        let mut base_delta = TensorMap::default();
        base_delta.insert(name.clone(), HostTensor::from_tensor(&change).unwrap());
        let merged = base
            .with_delta(&checkpoint, &base_delta, Device::Cpu)
            .unwrap();
        let sum = wide.to_tensor(Device::Cpu).unwrap() + &change;
        let found = merged.get(&name).unwrap();
        assert_eq!(found, sum.to_kind(Kind::BFloat16));
        let twice = base.pretrained.get(&name).unwrap().to_kind(Kind::Float) + &change;
        assert_ne!(found, twice.to_kind(Kind::BFloat16));
        // Embeddings and norms are not rounded, biases of layers are.
        for (name, tensor) in &merged.tensors {
            let of_layer = layers
                .iter()
                .any(|layer| [layer.weight(), layer.bias()].contains(name));
            let kind = if of_layer {
                Kind::BFloat16
            } else {
                Kind::Float
            };
            assert_eq!(tensor.kind(), kind, "{name}");
        }
    }

    #[test]
    fn a_changed_weight_is_stacked_with_those_beside_it_that_are_not() {
        let architecture = EncoderConfig {
            num_hidden_layers: 1,
            ..known_encoder("minilm-l6").unwrap()
        };
        let objective = Objective::classes(2);
        let checkpoint = Checkpoint::random(Arc::new(architecture), &objective, 1).unwrap();
        let layers = checkpoint.architecture.linear_layers();
        let ends = checkpoint.architecture.query_key_value().unwrap();
        let rounded = RoundedTensors::of_layers(&layers, Kind::BFloat16);
        let stacked = StackedTensors::of_layers(&layers, &ends);
        let base = DeviceBase::held(&checkpoint, Device::Cpu, rounded, stacked).unwrap();
        let value = &layers[2];
        let change = Tensor::ones(value.weight_shape(), (Kind::Float, Device::Cpu));
        let mut base_delta = TensorMap::default();
        base_delta.insert(value.weight(), HostTensor::from_tensor(&change).unwrap());
        let merged = base.with_delta(&checkpoint, &base_delta, Device::Cpu);
        let weights = [base.pretrained.clone(), merged.unwrap()];
        let modules = [0, 1, 2].map(|at| layers[at].module.as_str());
        let [before, after] = weights.each_ref().map(|weights| {
            let whole = View::new(weights).stacked(&modules, "weight").unwrap();
            let parts = whole.unwrap().chunk(3, 0);
            for (layer, part) in layers.iter().zip(&parts) {
                assert_eq!(weights.get(&layer.weight()).unwrap(), *part);
            }
            parts
        });
        assert_eq!(before[..2], after[..2]);
        let wide = checkpoint.base.get(&value.weight()).unwrap();
        let sum = wide.to_tensor(Device::Cpu).unwrap() + change;
        assert_eq!(after[2], sum.to_kind(Kind::BFloat16));
        // Biases, which nothing changed, are where they were.
        let bias = |weights: &Weights| weights.get(&layers[2].bias()).unwrap().data_ptr();
        assert_eq!(bias(&weights[0]), bias(&weights[1]));
    }

    #[test]
    fn a_device_that_is_being_filled_keeps_no_other_waiting() {
        let devices = PerDevice::<u8>(Mutex::default());
        let first = devices.of(Device::Cuda(0));
        let held = first.lock().unwrap();
        // All the while, another device is filled and the same one is found.
        *devices.of(Device::Cuda(1)).lock().unwrap() = Some(7);
        assert_eq!(*devices.of(Device::Cuda(1)).lock().unwrap(), Some(7));
        assert!(devices.of(Device::Cuda(0)).try_lock().is_err());
        drop(held);
    }
}
