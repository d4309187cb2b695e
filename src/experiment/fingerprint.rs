//! What determines a run's results besides the actors' plan: settings, and the content of files.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::machine::device::DeviceSpec;
use crate::config;
use crate::config::plan::DevicesPlan;
use crate::experiment::prepared::Experiment;
use crate::train::settings::Precision;

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
    let of_devices = devices(&plan.devices, plan.training.precision);
    fingerprint.insert("devices".into(), of_devices);
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

/// The kinds of devices: a processor and a GPU round differently, and so do GPUs of two kinds, or a
/// GPU and a slice of it, since libraries choose algorithms by the number of multiprocessors. Two
/// GPUs of a kind do not.
fn devices(devices: &DevicesPlan, precision: Precision) -> String {
    let kind = |device: DeviceSpec| match device {
        DeviceSpec::Cpu => "cpu".to_owned(),
        DeviceSpec::Cuda(number) => {
            let gpu = devices.gpus.iter().find(|gpu| gpu.number == number);
            gpu.map_or_else(
                || "cuda".to_owned(),
                |gpu| format!("cuda ({} of {})", gpu.name, gpu.multiprocessors),
            )
        }
    };
    let lanes: BTreeSet<_> = devices.lanes.iter().map(|lane| kind(lane.device)).collect();
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(" and ");
    let in_all = format!("server {}, lanes {lanes}", kind(devices.server));
    if devices.gpus.is_empty() {
        return in_all;
    }
    let precision = match devices.precision(precision) {
        Precision::Bfloat16 => "bfloat16",
        Precision::Float16 => "float16",
        Precision::Float32 | Precision::Auto => "float32",
    };
    format!("{in_all}, in {precision}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::machine::Host;
    use crate::base::machine::gpus::Gpus;
    use crate::config::tests::plan_on;

    fn on(gpus: Gpus) -> String {
        let host = Host {
            gpus,
            ..Host::cpu(8)
        };
        let plan = plan_on(&host, "num_clients = 3").unwrap();
        devices(&plan.devices, plan.training.precision)
    }

    #[test]
    fn a_run_is_of_its_kind_of_gpu_and_of_one_precision() {
        assert_eq!(on(Gpus::default()), "server cpu, lanes cpu");
        let h100 = on(Gpus::alike(1, "NVIDIA H100", (9, 0)));
        let kind = "cuda (NVIDIA H100 of 132)";
        assert_eq!(h100, format!("server {kind}, lanes {kind}, in bfloat16"));
        assert_eq!(on(Gpus::alike(3, "NVIDIA H100", (9, 0))), h100);
        let mut mixed = Gpus::alike(2, "NVIDIA A100", (8, 0));
        mixed.usable[1].name = "Tesla T4".into();
        mixed.usable[1].capability = (7, 5);
        let text = on(mixed);
        assert!(
            text.contains("A100") && text.contains("T4") && text.ends_with("in float16"),
            "{text}"
        );
    }
}
