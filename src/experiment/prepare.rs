//! Everything a run needs, loaded and checked once, shared by all threads.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::adapter::peft::import::PeftFolder;
use crate::adapter::population::LayerGroup;
use crate::adapter::settings::{AdapterPlan, Bias};
use crate::adapter::target_modules::TargetModules;
use crate::adapter::targets::Targets;
use crate::adapter::{Adapter, size};
use crate::aggregate::state::GlobalState;
use crate::base::allocator;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::problems::Problems;
use crate::data::encoded::EncodedSplit;
use crate::data::split::{CategoricalColumn, Split};
use crate::data::tokenize::TextEncoder;
use crate::experiment::init_adapter::decide;
use crate::experiment::inputs;
use crate::experiment::inputs::RunInputs;
use crate::experiment::prepared::{Experiment, encode_with_cache};
use crate::experiment::prompts;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::linear_layer::LinearLayer;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::tensor_spec::is_inside;

impl Experiment {
    /// Reads the model, builds the adapter and tokenises the data.
    ///
    /// # Errors
    /// Everything that is wrong with the plan in the light of its files, by setting.
    pub fn prepare(draft: PlanDraft, inputs: RunInputs) -> Result<Self, Problems> {
        let mut problems = draft.problems();
        match Self::build(draft, inputs, &mut problems) {
            Some(experiment) => problems.into_result(experiment),
            None => Err(problems),
        }
    }

    fn build(draft: PlanDraft, inputs: RunInputs, problems: &mut Problems) -> Option<Self> {
        let RunInputs {
            task,
            data,
            shards,
            model,
            architecture,
            encoder,
            mut init_adapter,
        } = inputs;
        let draft = draft.with_task(task).within(&*architecture);
        let objective = draft.data.task.objective();
        let mut report = |key: &str, error: String| problems.report_error(key, error);
        let folder = init_adapter.as_ref();
        let in_full = |name: &str| is_trained_in_full(name, &draft.adapter, folder);
        let form = BaseForm::new(draft.model.base_precision, &in_full);
        let mut checkpoint = model
            .checkpoint_as(&objective, draft.seed, &form)
            .map_err(|e| report("model", e.to_string()))
            .ok()?;
        if let Some(p) = draft.model.dropout {
            checkpoint.architecture = checkpoint.architecture.with_dropout(p);
        }
        if let Some(folder) = &mut init_adapter {
            folder.match_output(&mut checkpoint);
        }
        let plan = decide(draft, init_adapter.as_ref(), &checkpoint, problems)?;
        let layers = choose_layers(&plan, &checkpoint, problems)?;
        let (adapter, client_adapters) = build_adapters(&plan, &layers, problems)?;
        let method = plan.aggregation.method.info().method;
        let trained_base = trained_base(&plan, &checkpoint, &layers, problems)?;
        let groups = LayerGroup::by(&layers, |layer| adapter.tensors(layer));
        let end_tokens = end_tokens(&plan, &encoder, problems)?;
        let column = plan.data.partition.column();
        let client_names = name_clients(&shards, column.and_then(|name| data.train.column(name)));
        let train = encode(&encoder, &data.train, &plan, problems)?;
        encoder.warn_of_unread(&train);
        let remedy = remedy_of_cut_answers(&plan, &*checkpoint.architecture);
        let shards = with_targets(shards, &train, &client_names, remedy, problems)?;
        let validation = validation(&data.validation, &encoder, &plan, remedy, problems)?;
        let texts = data.validation.iter().chain(&data.test);
        let model = &*checkpoint.architecture;
        let prompts = prompts::of_splits(texts, &plan, &encoder, model, problems)?;
        let mut experiment = Self {
            train,
            prompts,
            end_tokens,
            validation,
            test: data.test,
            method,
            initial: GlobalState::default(),
            plan,
            checkpoint,
            layers,
            groups,
            adapter,
            client_adapters,
            trained_base,
            objective,
            shards,
            client_names,
            encoder,
        };
        let initial = crate::experiment::initial_state::initial_state(&experiment, init_adapter);
        experiment.initial = initial
            .map_err(|(key, error)| problems.report_error(key, error))
            .ok()?;
        Some(experiment)
    }
}

/// Whether a base tensor is trained in full, by the settings or by the PEFT folder that the run starts
/// from: it is then not held in fewer bits. What the folder holds of the base may be so as well.
fn is_trained_in_full(name: &str, plan: &AdapterPlan, folder: Option<&PeftFolder>) -> bool {
    let of_folder = folder.and_then(|folder| folder.config.modules_to_save.as_ref());
    let mut modules = plan
        .modules_to_save
        .iter()
        .chain(of_folder.into_iter().flatten());
    modules.any(|module| is_inside(name, module))
        || folder.is_some_and(|folder| folder.tensors.get(name).is_some())
}

/// `client-0`, `client-1`, …; or, where each client has one value of a column and no two the same,
/// that value: `movies`, `news`, ….
fn name_clients(shards: &[Vec<u32>], column: Option<&CategoricalColumn>) -> Vec<String> {
    let numbered = (0..shards.len()).map(|i| format!("client-{i}")).collect();
    let Some(column) = column else {
        return numbered;
    };
    let only_value = |shard: &Vec<u32>| {
        let codes: BTreeSet<u32> = shard
            .iter()
            .map(|at| column.codes()[*at as usize])
            .collect();
        let code = codes.first().filter(|_| codes.len() == 1)?;
        column.values().get(*code as usize).cloned()
    };
    let values: Option<Vec<String>> = shards.iter().map(only_value).collect();
    let distinct = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    values.filter(distinct).unwrap_or(numbered)
}

/// What helps where no answer is left of examples that were cut.
fn remedy_of_cut_answers(plan: &Plan, model: &dyn Architecture) -> &'static str {
    match i64::from(plan.data.max_seq_length) < model.max_tokens() {
        true => "give a larger one",
        false => "the model takes no more; shorten the prompts, or name another model",
    }
}

/// The shards without examples of which nothing counts, for they were cut before their answers.
/// `None` when a client is left with none, which is then reported.
fn with_targets(
    mut shards: Vec<Vec<u32>>,
    train: &EncodedSplit,
    names: &[String],
    remedy: &str,
    problems: &mut Problems,
) -> Option<Vec<Vec<u32>>> {
    let without = train.without_targets();
    if without == 0 {
        return Some(shards);
    }
    for (shard, name) in shards.iter_mut().zip(names) {
        shard.retain(|at| train.num_targets(*at as usize) > 0);
        if shard.is_empty() {
            let wrong = format_args!("cuts the whole answer of every example of {name}");
            problems.report("max_seq_length", wrong, remedy);
            return None;
        }
    }
    tracing::warn!(
        "{without} of {} training examples are left out: max_seq_length cuts their whole answers",
        train.len()
    );
    Some(shards)
}

/// The validation splits, of which something has to count.
fn validation(
    splits: &[Split],
    encoder: &TextEncoder,
    plan: &Plan,
    remedy: &str,
    problems: &mut Problems,
) -> Option<Vec<EncodedSplit>> {
    let mut all = Vec::new();
    for split in splits {
        let encoded = encode(encoder, split, plan, problems)?;
        let (without, name) = (encoded.without_targets(), encoded.name());
        if without > 0 && without == encoded.len() {
            let wrong = format_args!("cuts the whole answer of every example of the {name} split");
            problems.report("max_seq_length", wrong, remedy);
            return None;
        }
        if without > 0 {
            tracing::warn!(
                "{without} of {} examples of the {name} split do not count in its loss: \
                 max_seq_length cuts their whole answers",
                encoded.len()
            );
        }
        all.push(encoded);
    }
    Some(all)
}

/// The tokens that end a text; none where no text is written.
fn end_tokens(plan: &Plan, encoder: &TextEncoder, problems: &mut Problems) -> Option<Vec<i64>> {
    let Some(task) = plan.data.task.texts() else {
        return Some(Vec::new());
    };
    let tokens = task.end_tokens(encoder);
    let tokens = tokens
        .map_err(|error| problems.report_error(inputs::key_of(&error, plan, "model"), error))
        .ok()?;
    Some(tokens.into_iter().map(i64::from).collect())
}

fn encode(
    encoder: &TextEncoder,
    split: &Split,
    plan: &Plan,
    problems: &mut Problems,
) -> Option<EncodedSplit> {
    encode_with_cache(&*plan.data.task, encoder, split)
        .map_err(|error| problems.report_error(inputs::key_of(&error, plan, "data"), error))
        .ok()
}

fn choose_layers(
    plan: &Plan,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> Option<Vec<LinearLayer>> {
    let chosen = Targets::of(&plan.adapter).choose(&*checkpoint.architecture);
    let mut layers = chosen
        .map_err(|misses| {
            for (key, error) in misses {
                problems.report_error(key, error);
            }
        })
        .ok()?;
    let drawn = |layer: &LinearLayer| checkpoint.fresh.contains(&layer.weight());
    // All that there are; only who names others means them.
    if plan.adapter.target_modules == Some(TargetModules::AllLinear) {
        layers.retain(|layer| !drawn(layer));
    }
    if let Some(layer) = layers.iter().find(|layer| drawn(layer)) {
        let wrong = format!(
            "the model has no weight of {}: an adapter on randomly drawn weights is meaningless",
            layer.module
        );
        let key = match plan.model.init_adapter {
            Some(_) => "init_adapter",
            None => "target_modules",
        };
        problems.report(
            key,
            wrong,
            "name a model that has it, or adapt other layers",
        );
        return None;
    }
    Some(layers)
}

type Adapters = (Arc<dyn Adapter>, Vec<Arc<dyn Adapter>>);

fn build_adapters(
    plan: &Plan,
    layers: &[LinearLayer],
    problems: &mut Problems,
) -> Option<Adapters> {
    let own = |rank: &u32| {
        let mut adapter = plan.adapter.clone();
        adapter.r = *rank;
        adapter.build(layers)
    };
    let bytes = size::least_bytes(&plan.adapter, plan.adapter.r, layers);
    let built = allocator::require(bytes).and_then(|()| plan.adapter.build(layers));
    let built = built.and_then(|adapter| {
        let different = plan
            .adapter
            .ranks
            .iter()
            .any(|rank| *rank != plan.adapter.r);
        let ranks: &[u32] = if different { &plan.adapter.ranks } else { &[] };
        Ok((adapter, ranks.iter().map(own).collect::<Result<_, _>>()?))
    });
    built
        .map_err(|error| {
            let key = match (&plan.settings.ranks, &plan.model.init_adapter) {
                (Some(_), _) => "ranks",
                (None, Some(_)) if !plan.origins.given("r") => "init_adapter",
                _ => "r",
            };
            problems.report_error(key, error);
        })
        .ok()
}

/// That a model has no part of this name, and which it has.
fn no_module(named: &str, checkpoint: &Checkpoint) -> String {
    let model = &*checkpoint.architecture;
    let tied = model.tied_output();
    if let Some([table, _]) = tied.filter(|[_, output]| is_inside(output, named)) {
        return format!("the model's output is its table of embeddings, {table}; name that");
    }
    let tables = model.base_tensors().into_iter().next();
    let table = tables.map(|tensor| tensor.name.replace(".weight", ""));
    format!(
        "the model has no module {named:?}; name a part of the model, such as {}",
        table.unwrap_or_default()
    )
}

/// Base tensors that are trained in full.
fn trained_base(
    plan: &Plan,
    checkpoint: &Checkpoint,
    layers: &[LinearLayer],
    problems: &mut Problems,
) -> Option<BTreeSet<String>> {
    let names = || checkpoint.base.iter().map(|(name, _)| name);
    let mut trained = BTreeSet::new();
    match plan.adapter.bias {
        Bias::None => {}
        // As PEFT does: of a first DeBERTa that is `q_bias` too.
        Bias::All => trained.extend(names().filter(|n| n.ends_with("bias")).map(str::to_owned)),
        Bias::LoraOnly => {
            let biases = layers.iter().map(LinearLayer::bias);
            trained.extend(biases.filter(|name| checkpoint.base.get(name).is_some()));
        }
    }
    for module in &plan.adapter.modules_to_save {
        let is_head = checkpoint
            .head
            .iter()
            .any(|(name, _)| is_inside(name, module));
        let before = trained.len();
        let inside = names().filter(|name| is_inside(name, module));
        trained.extend(inside.map(str::to_owned));
        if trained.len() == before && !is_head {
            problems.report_error("modules_to_save", no_module(module, checkpoint));
            return None;
        }
    }
    let adapted = |name: &str| layers.iter().any(|layer| name == layer.weight());
    if let Some(both) = trained.iter().find(|name| adapted(name)) {
        let wrong = format!("{both} has an adapter and would also be trained in full");
        problems.report("modules_to_save", wrong, "remove adapted layers from it");
        return None;
    }
    if let Some(name) = trained
        .first()
        .filter(|_| plan.training.clients_per_step > 1)
    {
        let wrong = format!(
            "clients that are trained together share the base, and each would train {name} of it"
        );
        let right = "train adapters and heads alone, without bias and modules_to_save, or omit it";
        problems.report("clients_per_step", wrong, right);
        return None;
    }
    Some(trained)
}
