//! The PEFT folder that a run starts from: what it says of the adapter decides the plan.

use std::collections::BTreeSet;
use std::path::Path;

use crate::adapter::peft::import::PeftFolder;
use crate::adapter::settings::{AdapterKind, AdapterPlan, Bias};
use crate::adapter::targets::Targets;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::problems::Problems;
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::tensor_spec::is_inside;

/// The plan, with the adapter as the PEFT folder has it that the run starts from, if any. A setting
/// that the user gave and that says otherwise is a problem.
///
/// `None` when a problem was reported.
pub(crate) fn decide(
    draft: PlanDraft,
    folder: Option<&PeftFolder>,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> Option<Plan> {
    let model = &*checkpoint.architecture;
    let Some(folder) = folder else {
        return Some(draft.on(model));
    };
    let config = &folder.config;
    let kind = config.peft_type;
    if !kind.info().is_in_peft {
        let title = kind.title();
        let wrong = format!("it holds a {title} adapter, which only its own run can resume");
        let right = "name a LoRA or VeRA adapter; `regatta export` makes a LoRA of it";
        problems.report("init_adapter", wrong, right);
        return None;
    }
    if kind != draft.adapter.kind {
        let wrong = format!(
            "it holds a {} adapter, the run trains {}",
            kind.title(),
            draft.adapter.kind.title()
        );
        problems.report("init_adapter", wrong, "choose the same kind for both");
        return None;
    }
    let fit = folder
        .check_objective(&draft.data.task.objective())
        .and_then(|()| folder.fit(model));
    let fit = fit
        .map_err(|error| problems.report_error("init_adapter", error))
        .ok()?;
    let mut adapter = draft.adapter.clone();
    fit.apply_to(&mut adapter, config, model);
    train_what_the_folder_trained(&mut adapter, &draft, folder, checkpoint);
    for key in differing(&adapter, &draft.adapter, model) {
        if draft.origins.given(key) {
            let path = draft.model.init_adapter.as_deref().unwrap_or(Path::new(""));
            let wrong = format!("init_adapter {} says otherwise", path.display());
            problems.report(key, wrong, "omit it to follow the folder");
        }
    }
    problems.is_empty().then(|| draft.with_adapter(adapter))
}

/// The settings in which the adapter differs from what it was. Layers may be chosen in other words.
fn differing(own: &AdapterPlan, was: &AdapterPlan, model: &dyn Architecture) -> Vec<&'static str> {
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
    let chosen: BTreeSet<i64> = numbers(&layers.unwrap_or_default());
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

/// What the folder holds besides the adapter and the head is trained further, unless the user chose
/// otherwise.
fn train_what_the_folder_trained(
    adapter: &mut AdapterPlan,
    draft: &PlanDraft,
    folder: &PeftFolder,
    checkpoint: &Checkpoint,
) {
    if !draft.origins.given("bias") {
        adapter.bias = match folder.config.bias.as_str() {
            "none" => Bias::None,
            "all" => Bias::All,
            _ => Bias::LoraOnly,
        };
    }
    if !draft.origins.given("modules_to_save") {
        adapter.modules_to_save = further_modules(folder, checkpoint);
    }
}

/// Modules that the folder trained in full besides the head: those that it names, as far as Regatta
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
