//! The state before the first round.

use crate::adapter::{self, Population};
use crate::aggregate::GlobalState;
use crate::aggregate::exactness::subtract_from_base;
use crate::config::{AdapterKind, Plan, Problems};
use crate::model::LinearLayer;
use crate::peft::{PeftFolder, PeftType};

use super::Experiment;

/// Reads the PEFT folder that the plan starts from, if any. Its configuration becomes the plan's;
/// a setting that the user gave and that says otherwise is a problem.
///
/// `None` when a problem was reported.
pub(super) fn read_init_adapter(
    plan: &mut Plan,
    problems: &mut Problems,
) -> Option<Option<PeftFolder>> {
    let Some(path) = plan.model.init_adapter.clone() else {
        return Some(None);
    };
    let folder = PeftFolder::read(&path)
        .map_err(|error| problems.report_error("init_adapter", error))
        .ok()?;
    let config = &folder.config;
    let kind = match config.peft_type {
        PeftType::Lora => AdapterKind::Lora,
        PeftType::Vera => AdapterKind::Vera,
    };
    if kind != plan.adapter.kind {
        let wrong = format!(
            "it holds a {} adapter, the run trains {}",
            kind.title(),
            plan.adapter.kind.title()
        );
        problems.report("init_adapter", wrong, "choose the same kind for both");
        return None;
    }
    let before = plan.clone();
    let own = &mut plan.adapter;
    own.r = u32::try_from(config.r).unwrap_or(u32::MAX);
    own.ranks.fill(own.r);
    own.lora_alpha = config.lora_alpha.unwrap_or(own.lora_alpha);
    own.rank_stabilised = config.use_rslora.unwrap_or(false);
    own.projection_prng_key = config
        .projection_prng_key
        .unwrap_or(own.projection_prng_key);
    let targets = config.targets();
    own.target_modules = targets.modules;
    own.layers_to_transform = targets
        .layers
        .map(|numbers| numbers.iter().map(|n| *n as u32).collect());
    own.layers_pattern = targets.pattern;
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let was = &before.adapter;
    let scaling = if kind == AdapterKind::Vera {
        "rsvera"
    } else {
        "rslora"
    };
    let differing = [
        ("r", own.r != was.r),
        ("lora_alpha", own.lora_alpha != was.lora_alpha),
        (scaling, own.rank_stabilised != was.rank_stabilised),
        (
            "projection_prng_key",
            own.projection_prng_key != was.projection_prng_key,
        ),
        (
            "target_modules",
            sorted(&own.target_modules) != sorted(&was.target_modules),
        ),
        (
            "layers_to_transform",
            own.layers_to_transform != was.layers_to_transform,
        ),
    ];
    for (key, _) in differing
        .iter()
        .filter(|(key, differs)| *differs && plan.origins.given(key))
    {
        let wrong = format!("init_adapter {} says otherwise", path.display());
        problems.report(key, wrong, "leave it out, and the folder decides");
    }
    problems.is_empty().then_some(Some(folder))
}

/// Adapter, head and base delta before the first round; an error comes with its setting.
pub(super) fn initial_state(
    experiment: &Experiment,
    start_from: Option<PeftFolder>,
) -> Result<GlobalState, (&'static str, String)> {
    let seed = experiment.plan.seed;
    let adapter = &*experiment.adapter;
    let mut trained = adapter::initial_state(adapter, &experiment.layers, seed, 0);
    trained.0.extend(experiment.checkpoint.head.clone().0);
    for name in &experiment.trained_base {
        if let Some(tensor) = experiment.checkpoint.base.get(name) {
            trained.insert(name, tensor.clone());
        }
    }
    let mut state = GlobalState {
        trained,
        ..GlobalState::default()
    };
    if let Some(folder) = start_from {
        lay_over(&mut state, folder).map_err(|error| ("init_adapter", error))?;
    }
    if experiment.method.starts_at_pretrained() {
        start_at_pretrained(experiment, &mut state).map_err(|error| ("agg_type", error))?;
    }
    Ok(state)
}

/// Replaces tensors by those of a PEFT folder.
fn lay_over(state: &mut GlobalState, folder: PeftFolder) -> Result<(), String> {
    let path = folder.path.display();
    for (name, tensor) in folder.tensors.0 {
        let known = state.trained.get(&name);
        let known = known.ok_or_else(|| format!("{path}: the run trains no tensor {name}"))?;
        if known.shape() != tensor.shape() {
            let (got, want) = (tensor.shape(), known.shape());
            return Err(format!(
                "{path}: tensor {name} has shape {got:?}, the run's has {want:?}"
            ));
        }
        state.trained.insert(name, tensor);
    }
    Ok(())
}

/// Subtracts the first ΔW from the base.
fn start_at_pretrained(experiment: &Experiment, state: &mut GlobalState) -> Result<(), String> {
    for group in &experiment.groups {
        let trained = state.trained.clone();
        let own = Population {
            state: &trained,
            updates: &[&trained],
            weights: &[1.0],
            device: experiment.plan.devices.server.into(),
        };
        experiment
            .adapter
            .factors(group, &own)
            .and_then(|update| subtract_from_base(&update, group, state))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Bytes of the first adapter: every client draws it from the seed for itself, and none needs it
/// sent before it has changed.
pub(super) fn drawn_bytes(experiment: &Experiment) -> u64 {
    let unsent = |layer: &LinearLayer| {
        let tensors = experiment.adapter.tensors(layer).into_iter();
        let drawn = tensors.filter(|tensor| !experiment.method.sends(tensor));
        drawn
            .map(|t| t.shape.iter().product::<i64>() as u64 * size_of::<f32>() as u64)
            .sum::<u64>()
    };
    experiment.layers.iter().map(unsent).sum()
}
