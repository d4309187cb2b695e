//! What a run asks of hosts that train for it, and what a host makes of that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use regatta_actors::ids::Digest;
use regatta_actors::lanes::remote::settings::RemoteSettings;
use regatta_actors::lanes::remote::verify::VerifiedShare;
use regatta_actors::lanes::timing::Timing;
use regatta_actors::lanes::wire::Invitation;
use regatta_actors::lanes::worker::PreparedWorkload;

use crate::base::machine::{Host, environment};
use crate::base::torch;
use crate::config::load;
use crate::config::settings::{Numerics, Settings};
use crate::experiment::inputs::RunInputs;
use crate::experiment::prepared::Experiment;
use crate::experiment::workload::Federation;
use crate::experiment::{FederatedRun, fingerprint};
use crate::runs::folder::RunFolder;

/// Bytes that an update may have beyond twice what is trained: names, and what frames it.
const ROOM: u64 = 1 << 24;
/// Digits of a digest that tell programs and runs apart.
const DIGITS: usize = 16;

/// What the run's coordinator asks of hosts, which do a share of the jobs twice.
///
/// # Errors
/// If this program's own file cannot be read.
pub fn settings(
    run: &FederatedRun,
    machine: &Host,
    verified: VerifiedShare,
) -> io::Result<RemoteSettings> {
    let plan = &run.workload.experiment.plan;
    let mut for_hosts = plan.clone();
    // Each machine numbers its GPUs for itself.
    for_hosts.settings.server_gpu = None;
    for_hosts.settings.client_gpus = None;
    let invitation = Invitation {
        build: build()?,
        run: for_hosts.to_toml(),
    };
    Ok(RemoteSettings {
        name: format!("{} on {}", plan.name, machine.name),
        description: describe(machine),
        invitation,
        // The canary is judged by itself, with a better error.
        fingerprint: fingerprint::of(&run.workload.experiment),
        // Every run has one.
        canary: run.plan.canary.clone().unwrap_or_else(|| Digest::of(&[])),
        verified,
        largest_update: 2 * run.workload.experiment.initial.trained.bytes() + ROOM,
        timing: Timing::default(),
    })
}

/// The run's id in the broker: the same when it is resumed in its folder, and another for any other
/// run.
pub fn run_id(run: &FederatedRun, folder: &RunFolder, machine: &Host) -> String {
    let mut hasher = blake3::Hasher::new();
    let place = folder.path().canonicalize();
    let place = place.unwrap_or_else(|_| folder.path().to_owned());
    let own = [machine.name.clone(), place.display().to_string()];
    let fingerprint = run.plan.fingerprint.iter();
    let decided = fingerprint.flat_map(|(key, value)| [key.clone(), value.clone()]);
    for text in own.into_iter().chain(decided) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&run.plan.run_id().0.to_le_bytes());
    hasher.finalize().to_hex()[..DIGITS].to_owned()
}

/// This program, by its content: whoever computes the same bits is built the same.
///
/// # Errors
/// If its file cannot be read.
pub fn build() -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs::File::open(std::env::current_exe()?)?, &mut hasher)?;
    let program = &hasher.finalize().to_hex()[..DIGITS];
    let libtorch = torch::info::version().unwrap_or_else(|| "unknown".to_owned());
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "regatta {version} ({program}, libtorch {libtorch})"
    ))
}

/// What trains on this machine, for people.
pub fn describe(machine: &Host) -> String {
    let capability = torch::info::cpu_capability().unwrap_or_default();
    let gpus = match machine.gpus.usable.len() {
        0 => String::new(),
        1 => ", 1 GPU".to_owned(),
        count => format!(", {count} GPUs"),
    };
    format!("{} ({capability}){gpus}", machine.processor)
}

/// What this host makes of an invitation, with settings of its own over the run's.
///
/// # Errors
/// If its files do not give the run, or it has no room for them.
pub fn prepare(
    invitation: &Invitation,
    own: &Settings,
    folder: &Path,
) -> anyhow::Result<PreparedWorkload<Federation>> {
    let scenario = folder.join("scenario.toml");
    fs::write(&scenario, &invitation.run).context("cannot keep the run's scenario")?;
    let plan = load(Some(&scenario), own, &Host::detect())?;
    if plan.devices.numerics == Numerics::Portable {
        environment::set_portable().context("cannot set the run's numerics")?;
    }
    if let Some(refusal) = &plan.devices.refusal {
        anyhow::bail!("{refusal}");
    }
    for notice in &plan.devices.notices {
        tracing::warn!("{notice}");
    }
    let inputs = RunInputs::load(&plan)?;
    let experiment = Experiment::prepare(plan, inputs)?;
    let fingerprint: BTreeMap<String, String> = fingerprint::of(&experiment);
    let lanes = experiment.plan.devices.lanes.len();
    Ok(PreparedWorkload {
        workload: Arc::new(Federation::new(experiment, RunFolder::at(folder))),
        fingerprint,
        lanes: u32::try_from(lanes)?,
    })
}
