//! The state before the first round.

use std::collections::BTreeSet;

use crate::adapter;
use crate::adapter::peft::BASE_DELTA;
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::population::WeightedUpdates;
use crate::adapter::targets::Targets;
use crate::adapter::tensor_name;
use crate::aggregate::exactness::subtract_from_base;
use crate::aggregate::state::GlobalState;
use crate::base::tensors::HostTensor;
use crate::config::plan::{AdapterPlan, Plan};
use crate::config::problems::Problems;
use crate::config::settings::{AdapterKind, Bias};
use crate::experiment::prepare::{Experiment, is_inside};
use crate::model::config::{LinearLayer, ModelConfig};
use crate::model::source::checkpoint::Checkpoint;

/// Reads the PEFT folder that the plan starts from, if any. Its configuration becomes the plan's;
/// a setting that the user gave and that says otherwise is a problem.
///
/// `None` when a problem was reported.
pub(crate) fn read_init_adapter(
    plan: &mut Plan,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> Option<Option<PeftFolder>> {
    let Some(path) = plan.model.init_adapter.clone() else {
        return Some(None);
    };
    let folder = PeftFolder::read(&path)
        .map_err(|error| problems.report_error("init_adapter", error))
        .ok()?;
    let config = &folder.config;
    let kind = config.peft_type.kind();
    if kind == AdapterKind::SorfVera {
        let wrong = "it holds a SORF-VeRA adapter, which only its own run can go on with";
        let right = "name a LoRA or VeRA adapter; `regatta export` makes a LoRA of it";
        problems.report("init_adapter", wrong, right);
        return None;
    }
    if kind != plan.adapter.kind {
        let wrong = format!(
            "it holds a {} adapter, the run trains {}",
            kind.title(),
            plan.adapter.kind.title()
        );
        problems.report("init_adapter", wrong, "choose the same kind for both");
        return None;
    }
    let model = &checkpoint.config;
    let fit = folder.fit(model);
    let fit = fit
        .map_err(|error| problems.report_error("init_adapter", error))
        .ok()?;
    let was = plan.adapter.clone();
    fit.apply_to(&mut plan.adapter, config, model);
    train_what_the_folder_trained(plan, &folder, checkpoint);
    for key in differing(&plan.adapter, &was, model) {
        if plan.origins.given(key) {
            let wrong = format!("init_adapter {} says otherwise", path.display());
            problems.report(key, wrong, "leave it out, and the folder decides");
        }
    }
    note_in_settings(plan);
    problems.is_empty().then_some(Some(folder))
}

/// The settings in which the adapter differs from what it was. Layers may be chosen in other words.
fn differing(own: &AdapterPlan, was: &AdapterPlan, model: &ModelConfig) -> Vec<&'static str> {
    let scaling = match own.kind {
        AdapterKind::Lora => "rslora",
        _ => "rsvera",
    };
    let layers = Targets::of(own).choose(model);
    let by_name = Targets {
        modules: was.target_modules.clone(),
        ..Targets::of(own)
    };
    let by_old_number = Targets {
        layers: Targets::of(was).layers,
        ..by_name.clone()
    };
    let same_modules = by_name.choose(model) == layers || by_old_number.choose(model) == layers;
    let numbers = |layers: &[LinearLayer]| layers.iter().map(|l| l.layer).collect();
    let chosen: BTreeSet<i64> = numbers(&layers);
    let given = Targets::of(was).layers;
    let same_numbers = own.layers_to_transform == was.layers_to_transform
        || given.is_some_and(|given| given.into_iter().collect::<BTreeSet<_>>() == chosen);
    let ranks = own.r != was.r || !own.layer_ranks.is_empty();
    let keys = [
        ("r", own.r != was.r),
        ("ranks", ranks),
        ("lora_alpha", own.lora_alpha != was.lora_alpha),
        (scaling, own.rank_stabilised != was.rank_stabilised),
        (
            "projection_prng_key",
            own.projection_prng_key != was.projection_prng_key,
        ),
        ("target_modules", !same_modules),
        ("layers_to_transform", !same_numbers),
    ];
    let differs = keys.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| key).collect()
}

/// What the folder holds beside the adapter and the head is trained further, unless the user chose.
fn train_what_the_folder_trained(plan: &mut Plan, folder: &PeftFolder, checkpoint: &Checkpoint) {
    if !plan.origins.given("bias") {
        plan.adapter.bias = match folder.config.bias.as_str() {
            "none" => Bias::None,
            "all" => Bias::All,
            _ => Bias::LoraOnly,
        };
    }
    if !plan.origins.given("modules_to_save") {
        plan.adapter.modules_to_save = further_modules(folder, checkpoint);
    }
}

/// Modules that the folder trained in full beside the head: those that it names, as far as Regatta
/// takes the same tensors by that name as PEFT did, otherwise each by its full name.
fn further_modules(folder: &PeftFolder, checkpoint: &Checkpoint) -> Vec<String> {
    let mut further = Vec::new();
    for named in folder.config.modules_to_save.iter().flatten() {
        let base = checkpoint.base.iter().map(|(name, _)| name);
        let inside: Vec<&str> = base.filter(|name| is_inside(name, named)).collect();
        let saved = |name: &str| folder.tensors.get(name).is_some();
        // PEFT takes every module whose name ends so, within a word too.
        let taken = folder.tensors.iter().filter_map(|(name, _)| {
            let (module, _) = name.rsplit_once('.')?;
            let within = |end: usize| module[..end].ends_with(named.as_str());
            let ends = module.match_indices('.').map(|(at, _)| at);
            let taken =
                checkpoint.base.get(name).is_some() && ends.chain([module.len()]).any(within);
            taken.then(|| module.to_owned())
        });
        let taken: BTreeSet<String> = taken.collect();
        let same = inside.iter().all(|name| saved(name)) || taken.is_empty();
        if same && !inside.is_empty() {
            further.push(named.clone());
        } else {
            further.extend(taken);
        }
    }
    further
}

/// Brings the settings into line with the adapter, so that the scenario in the run's folder gives
/// the same run again.
fn note_in_settings(plan: &mut Plan) {
    let (own, settings) = (&mut plan.adapter, &mut plan.settings);
    if settings.ranks.is_none() {
        own.ranks.fill(own.r);
        settings.r = Some(own.r);
    }
    if own.kind == AdapterKind::Lora {
        settings.rslora = Some(own.rank_stabilised);
        settings.lora_alpha = Some(own.lora_alpha);
    } else {
        // A PEFT folder has rsVeRA's scaling in its b.
        settings.rsvera = Some(false);
        settings.lora_alpha = None;
        settings.projection_prng_key = Some(own.projection_prng_key);
    }
    settings.target_modules = Some(own.target_modules.clone());
    settings.layers_to_transform = own.layers_to_transform.clone();
    settings.layers_pattern = own.layers_pattern.clone();
    settings.bias = Some(own.bias);
    settings.modules_to_save = Some(own.modules_to_save.clone());
}

/// Adapter, head and base delta before the first round; an error comes with its setting.
pub(crate) fn initial_state(
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
        let path = folder.tensor_file();
        lay_over(&mut state, folder, experiment)
            .map_err(|error| ("init_adapter", format!("{}: {error}", path.display())))?;
    }
    if experiment.method.starts_at_pretrained() {
        start_at_pretrained(experiment, &mut state).map_err(|error| ("agg_type", error))?;
    }
    Ok(state)
}

/// Replaces tensors by those of a PEFT folder. The head may be absent there, the adapter may not;
/// what is not trained may be there if it is as in the model.
fn lay_over(
    state: &mut GlobalState,
    folder: PeftFolder,
    experiment: &Experiment,
) -> Result<(), String> {
    let base = &experiment.checkpoint.base;
    for layer in &experiment.layers {
        for tensor in experiment.adapter.tensors(layer) {
            let name = tensor_name(layer, tensor.suffix);
            if folder.tensors.get(&name).is_none() {
                return Err(format!("it has no tensor {name}"));
            }
        }
    }
    if let (Some(saved), Some(own)) = (&folder.projection, experiment.adapter.projection())
        && saved != own
    {
        return Err(
            "its projection is not the one that its projection_prng_key gives, which Regatta \
             uses; save the adapter in float32, with the key it was drawn from"
                .to_owned(),
        );
    }
    for (name, tensor) in folder.tensors.0 {
        if state.trained.get(&name).is_none() && base.get(&name) == Some(&tensor) {
            continue;
        }
        let known = state.trained.get(&name).ok_or_else(|| {
            format!(
                "the run trains no tensor {name}; bias and modules_to_save say what is trained \
                 beside adapter and head"
            )
        })?;
        same_shape(&name, known, &tensor)?;
        state.trained.insert(name, tensor);
    }
    for (name, delta) in folder.base_delta.0 {
        let known = base.get(&name);
        let known =
            known.ok_or_else(|| format!("the model has no {name}, which {BASE_DELTA} changes"))?;
        same_shape(&name, known, &delta)?;
        state.base_delta.insert(name, delta);
    }
    Ok(())
}

fn same_shape(name: &str, known: &HostTensor, saved: &HostTensor) -> Result<(), String> {
    let (got, want) = (saved.shape(), known.shape());
    if got == want {
        return Ok(());
    }
    Err(format!(
        "tensor {name} has shape {got:?}, the run's has {want:?}"
    ))
}

/// Subtracts the first ΔW from the base.
fn start_at_pretrained(experiment: &Experiment, state: &mut GlobalState) -> Result<(), String> {
    for group in &experiment.groups {
        let trained = state.trained.clone();
        let own = WeightedUpdates {
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

/// Bytes of the adapter's tensors that never travel: every client draws them from the seed.
pub(crate) fn unsent_bytes(experiment: &Experiment) -> u64 {
    let unsent = |layer: &LinearLayer| {
        let tensors = experiment.adapter.tensors(layer).into_iter();
        let drawn = tensors.filter(|tensor| !experiment.method.sends(tensor));
        drawn
            .map(|t| t.shape.iter().product::<i64>() as u64 * size_of::<f32>() as u64)
            .sum::<u64>()
    };
    experiment.layers.iter().map(unsent).sum()
}
