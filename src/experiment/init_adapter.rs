//! The PEFT folder that a run starts from: what it says of the adapter decides the plan.

use std::collections::BTreeSet;
use std::path::Path;

use crate::adapter::peft::config::PeftError;
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::settings::{AdapterKind, AdapterPlan, Bias};
use crate::adapter::targets::Targets;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::problems::Problems;
use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;
use crate::model::source::checkpoint::Checkpoint;

/// The folder for a model whose output is its table of embeddings. PEFT trains copies of the two, so
/// they must be the same in the folder.
///
/// # Errors
/// If they differ there, or only one was trained.
pub(crate) fn tie(
    mut folder: PeftFolder,
    checkpoint: &Checkpoint,
) -> Result<PeftFolder, PeftError> {
    let Some([table, output]) = checkpoint.architecture.tied_output() else {
        return Ok(folder);
    };
    let before = checkpoint.base.get(table);
    let saved = |name| folder.tensors.get(name).or(before);
    if saved(table) != saved(output) {
        return Err(folder.wrong_tensors(format!(
            "{table} and {output} are one tensor in this model, and differ in the adapter, which \
             trained them apart; save it from a model that keeps them tied"
        )));
    }
    folder.tensors.0.remove(output);
    Ok(folder)
}

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

/// Whether a tensor is a part of a module that is named by a part of its path: of `pooler`, say, or
/// of `layer.1.output`.
pub(crate) fn is_inside(tensor: &str, module: &str) -> bool {
    format!(".{tensor}.").contains(&format!(".{module}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::peft::PREFIX;
    use crate::base::tensors::{HostTensor, TensorMap};
    use crate::model::config;
    use crate::model::objective::Objective;

    const GPT2: &str = r#"{"model_type": "gpt2", "vocab_size": 8, "n_positions": 4, "n_embd": 4,
        "n_layer": 1, "n_head": 1}"#;

    /// What becomes of a folder that holds these tables beside its adapter, filled with a value.
    fn tied(tables: &[(&str, f32)]) -> Result<PeftFolder, PeftError> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("config.json"), GPT2).unwrap();
        let model = config::read(&file("config.json")).unwrap();
        let mut checkpoint = Checkpoint::random(model, &Objective::NextToken, 0).unwrap();
        let table = HostTensor::full(&[8, 4], 0.5);
        checkpoint.base.insert("transformer.wte.weight", table);
        let keys = r#"{"peft_type": "LORA", "r": 2}"#;
        std::fs::write(file("adapter_config.json"), keys).unwrap();
        let tables = tables.iter();
        let tables = tables.map(|(name, value)| {
            let name = format!("{PREFIX}{name}.weight");
            (name, HostTensor::full(&[8, 4], *value))
        });
        let tables: TensorMap = tables.collect();
        tables.write(&file("adapter_model.safetensors")).unwrap();
        tie(PeftFolder::read(folder.path()).unwrap(), &checkpoint)
    }

    #[test]
    fn a_table_that_peft_saved_twice_is_one_if_both_are_the_same() {
        for (tables, kept) in [
            (&[][..], 0),
            (&[("transformer.wte", 2.0), ("lm_head", 2.0)], 1),
            (&[("lm_head", 0.5)], 0),
            (&[("transformer.wte", 0.5)], 1),
        ] {
            assert_eq!(tied(tables).unwrap().tensors.0.len(), kept, "{tables:?}");
        }
        for tables in [
            &[("transformer.wte", 2.0)][..],
            &[("lm_head", 2.0)],
            &[("transformer.wte", 2.0), ("lm_head", 3.0)],
        ] {
            let error = tied(tables).unwrap_err().to_string();
            assert!(
                error.contains("adapter_model.safetensors") && error.contains("one tensor"),
                "{error}"
            );
        }
    }
}
