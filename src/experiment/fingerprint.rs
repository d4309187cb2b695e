//! What determines a run's results besides the actors' plan: settings, and the content of files.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::machine::device::DeviceSpec;
use crate::config;
use crate::experiment::prepared::Experiment;

/// Settings by key, and digests of what the files hold by the setting that names them.
pub(crate) fn of(experiment: &Experiment) -> BTreeMap<String, String> {
    let plan = &experiment.plan;
    let mut fingerprint = config::fingerprint::of(plan);
    fingerprint.insert("data".into(), data(experiment));
    fingerprint.insert("model".into(), model(experiment));
    if plan.model.init_adapter.is_some() {
        let digest = experiment.initial.digest().0;
        fingerprint.insert("init_adapter".into(), digest);
    }
    fingerprint.insert("devices".into(), devices(experiment));
    fingerprint
}

/// The splits that are trained and scored on; predictions change no state.
fn data(experiment: &Experiment) -> String {
    let mut hasher = blake3::Hasher::new();
    for split in [&experiment.train]
        .into_iter()
        .chain(&experiment.validation)
    {
        split.hash_into(&mut hasher);
    }
    hasher.finalize().to_hex().to_string()
}

fn model(experiment: &Experiment) -> String {
    let checkpoint = &experiment.checkpoint;
    let mut hasher = blake3::Hasher::new();
    hasher.update(checkpoint.architecture.fingerprint().as_bytes());
    checkpoint.base.hash_into(&mut hasher);
    for (name, weight) in &checkpoint.quantised {
        hasher.update(name.as_bytes());
        weight.hash_into(&mut hasher);
    }
    checkpoint.head.hash_into(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// The kinds of devices: a processor and a GPU round differently, two GPUs of a kind do not.
fn devices(experiment: &Experiment) -> String {
    let devices = &experiment.plan.devices;
    let kind = |device: DeviceSpec| match device {
        DeviceSpec::Cpu => "cpu",
        DeviceSpec::Cuda(_) => "cuda",
    };
    let lanes: BTreeSet<_> = devices.lanes.iter().map(|lane| kind(lane.device)).collect();
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(" and ");
    format!("server {}, lanes {lanes}", kind(devices.server))
}
