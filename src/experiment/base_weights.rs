//! Frozen weights, once per device, shared by all lanes and clients there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use regatta_actors::ids::Digest;
use regatta_actors::workload::update::Payload;
use tch::{Device, Kind};

use crate::experiment::payload::Snapshot;
use crate::experiment::prepared::Experiment;
use crate::model::ModelError;
use crate::model::weights::Weights;

/// The pretrained weights on every device in use, and with the latest base delta added.
pub struct BaseWeightCache {
    experiment: Arc<Experiment>,
    devices: Mutex<HashMap<Device, DeviceBase>>,
}

/// One device's weights.
struct DeviceBase {
    pretrained: Weights,
    /// The same with a snapshot's base delta added to adapted layers, or beside their weights where
    /// these are held in fewer bits.
    current: Option<(Digest, Weights)>,
}

impl BaseWeightCache {
    /// No device yet; each is filled when its first lane asks.
    #[must_use]
    pub fn new(experiment: Arc<Experiment>) -> Self {
        Self {
            experiment,
            devices: Mutex::default(),
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
        // A lane that panicked while it held the lock left nothing half done: entries are put in
        // when they are complete.
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let base = match devices.entry(device) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let checkpoint = &self.experiment.checkpoint;
                let pretrained = Weights::frozen(&checkpoint.base, &checkpoint.quantised, device)?;
                entry.insert(DeviceBase {
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
        let weights = with_delta(&base.pretrained, snapshot, device)?;
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
