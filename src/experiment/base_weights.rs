//! Frozen weights, once per device, shared by all lanes and clients there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use regatta_actors::ids::Digest;
use regatta_actors::workload::update::Payload;
use tch::{Device, Kind};

use crate::experiment::payload::Snapshot;
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::model::linear_layer::LinearLayer;
use crate::model::weights::Weights;

/// The pretrained weights on every device in use, and with the latest base delta added.
pub struct BaseWeightCache {
    experiment: Arc<Experiment>,
    devices: PerDevice<DeviceBase>,
}

/// One device's weights.
struct DeviceBase {
    pretrained: Weights,
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
        let own = self.devices.of(device);
        // A lane that panicked while it held the lock left nothing half done: what is put in is
        // complete.
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let base = match &mut *own {
            Some(base) => base,
            none => {
                let checkpoint = &self.experiment.checkpoint;
                let mut pretrained =
                    Weights::frozen(&checkpoint.base, &checkpoint.quantised, device)?;
                let kind = self.experiment.compute(device).kind;
                if (device, kind) == (Device::Cpu, Kind::BFloat16) {
                    checkpoint.architecture.pack(&mut pretrained)?;
                }
                none.insert(DeviceBase {
                    pretrained,
                    current: None,
                })
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
        let mut weights = with_delta(&base.pretrained, snapshot, device)?;
        if !weights.packed.is_empty() {
            let layers = self.experiment.checkpoint.architecture.linear_layers();
            let changed = |layer: &&LinearLayer| snapshot.base_delta.get(&layer.weight()).is_some();
            weights.pack(layers.iter().filter(changed))?;
        }
        base.current = Some((digest, weights.clone()));
        Ok(weights)
    }
}

fn with_delta(
    pretrained: &Weights,
    snapshot: &Snapshot,
    device: Device,
) -> Result<Weights, ModelError> {
    let mut weights = pretrained.clone();
    for (name, delta) in snapshot.base_delta.iter() {
        if let Some(held) = pretrained.quantised.get(name) {
            // It stays beside the codes; on the processor, where the snapshot has it.
            let held = held.with(&delta.share(device)?)?;
            weights.quantised.insert(name.to_owned(), held);
            continue;
        }
        let weight = pretrained.get(name)?.f_to_kind(Kind::Float)?;
        let merged = weight.f_add(&delta.to_tensor(device)?)?;
        weights.tensors.insert(name.to_owned(), merged);
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

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
