//! The files that a plan names, read and checked before anything is trained.

use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapter::peft::import::PeftFolder;
use crate::adapter::targets::Targets;
use crate::base::file_error::FileError;
use crate::base::machine::DATA_FOLDER;
use crate::config::HUB;
use crate::config::plan::{DataPlan, DataSource, Plan};
use crate::config::problems::Problems;
use crate::data::error::DataError;
use crate::data::limits::TokenizerLimits;
use crate::data::partition;
use crate::data::partition::error::PartitionError;
use crate::data::tokenize::TextEncoder;
use crate::experiment::local_model::{local_model, require_tokenizer};
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::source::files::ModelFiles;
use crate::model::source::known::ArchitectureName;
use crate::model::source::locate::model_dir;
use crate::model::source::location::ModelSource;
use crate::model::tensor_spec::is_inside;
use crate::tasks::label_groups::LabelGroups;
use crate::tasks::{ReadOptions, SharedTask, TaskData};

/// The inputs of training.
#[derive(Debug)]
pub struct RunInputs {
    /// The task, with what data and model decide.
    pub task: SharedTask,
    /// The task's examples, cut to the plan's limits.
    pub data: TaskData,
    /// Each client's share: positions in the training split.
    pub shards: Vec<Vec<u32>>,
    /// The pretrained model.
    pub model: ModelFiles,
    /// The model's architecture.
    pub architecture: Arc<dyn Architecture>,
    /// The model's tokenizer.
    pub encoder: TextEncoder,
    /// The PEFT folder that the run starts from.
    pub init_adapter: Option<PeftFolder>,
}

impl RunInputs {
    /// Reads everything, fetching from the hub what the plan has there.
    ///
    /// # Errors
    /// Everything that is wrong with the files, each with the setting that named it.
    pub fn load(plan: &Plan) -> Result<Self, Problems> {
        let mut problems = plan.problems();
        check_meteor(plan, &mut problems);
        match (
            read_init_adapter(plan, &mut problems),
            load_data(plan, &mut problems),
            load_model(plan, &mut problems),
        ) {
            (Some(init_adapter), Some((data, shards)), Some(model)) => {
                let (model, architecture, encoder) = model;
                let Some(task) = settle(plan, &data, &encoder, &mut problems) else {
                    return Err(problems);
                };
                problems.into_result(Self {
                    task,
                    data,
                    shards,
                    model,
                    architecture,
                    encoder,
                    init_adapter,
                })
            }
            _ => Err(problems),
        }
    }
}

/// Reads what is on this machine and checks it; nothing is fetched from the hub.
///
/// # Errors
/// As [`RunInputs::load`].
pub fn check_local(plan: &Plan) -> Result<(), Problems> {
    let mut problems = plan.problems();
    check_meteor(plan, &mut problems);
    read_init_adapter(plan, &mut problems);
    let data = match plan.data.source {
        DataSource::Folder(_) => load_data(plan, &mut problems),
        DataSource::Hub => None,
    };
    if !matches!(plan.model.source, ModelSource::Hub(_))
        && let Some((model, _, encoder)) = load_model(plan, &mut problems)
    {
        if let Some((data, _)) = data {
            settle(plan, &data, &encoder, &mut problems);
        }
        if let Err(error) = check_weights(&model, plan) {
            problems.report_error("model", error);
        }
    }
    problems.into_result(())
}

/// The task with what data and model decide; `None` when a problem was reported.
fn settle(
    plan: &Plan,
    data: &TaskData,
    encoder: &TextEncoder,
    problems: &mut Problems,
) -> Option<SharedTask> {
    let task = &plan.data.task;
    let settled = task.settled(&data.train, encoder);
    let settled = settled
        .map_err(|error| problems.report_error(key_of(&error, plan, "template"), error))
        .ok()?;
    Some(settled.unwrap_or_else(|| task.clone()))
}

/// Reads the weights as the run would hold them.
fn check_weights(model: &ModelFiles, plan: &Plan) -> Result<(), ModelError> {
    let in_full = |name: &str| {
        let mut modules = plan.adapter.modules_to_save.iter();
        modules.any(|module| is_inside(name, module))
    };
    let form = BaseForm::new(plan.model.base_precision, &in_full);
    let objective = plan.data.task.objective();
    model.checkpoint_as(&objective, plan.seed, &form).map(drop)
}

/// The task's examples and each client's share of them; `None` when a problem was reported.
pub fn load_data(plan: &Plan, problems: &mut Problems) -> Option<(TaskData, Vec<Vec<u32>>)> {
    read_data(&plan.data, plan.seed)
        .map_err(|error| report_data(plan, &error, problems))
        .ok()
}

fn read_data(plan: &DataPlan, seed: u64) -> Result<(TaskData, Vec<Vec<u32>>), DataError> {
    let folder = match &plan.source {
        DataSource::Folder(folder) => folder.clone(),
        // A folder of that name wins.
        DataSource::Hub if Path::new(HUB).exists() => PathBuf::from(HUB),
        DataSource::Hub => plan.task.fetch()?,
    };
    let column = plan.partition.column();
    let limit = |limit: Option<u64>| limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let options = ReadOptions {
        limit_train: limit(plan.limit_train),
        limit_eval: limit(plan.limit_eval),
        limit_test: limit(plan.limit_test),
        columns: column.map(str::to_owned).into_iter().collect(),
    };
    let data = plan.task.read(&folder, &options)?;
    let shards = partition::partition(
        &plan.partition,
        &LabelGroups::of(&*plan.task, &data.train).of_split(&data.train),
        column.and_then(|name| data.train.column(name)),
        plan.num_clients as usize,
        seed,
    )?;
    Ok((data, shards))
}

/// Reports an error of the data under the setting that is to be changed.
fn report_data(plan: &Plan, error: &DataError, problems: &mut Problems) {
    let key = match error {
        DataError::MissingColumn { column, .. }
            if Some(column.as_str()) == plan.data.partition.column() =>
        {
            "partition"
        }
        DataError::Partition(PartitionError::EmptyShard { .. } | PartitionError::NoClients) => {
            "num_clients"
        }
        DataError::Partition(_) => "partition",
        _ if plan.tables.task.is_some() => "task",
        _ => "data",
    };
    match error {
        DataError::Missing { dir, .. } => {
            let remedy = data_remedy(dir, plan.data.task.is_on_hub());
            problems.report(key, error, remedy);
        }
        DataError::Partition(PartitionError::EmptyShard { .. }) => {
            problems.report(key, error, "give fewer clients or more examples");
        }
        DataError::File(FileError::Access { source, .. }) if source.kind() == NotFound => {
            let right = "paths are taken from the current directory, or from that of --data";
            problems.report(key, error, right);
        }
        _ => problems.report_error(key, error),
    }
}

fn data_remedy(folder: &Path, is_on_hub: bool) -> String {
    let mut remedy = if folder.is_dir() {
        format!(
            "put the task's folder there, or name another folder than {}",
            folder.display()
        )
    } else {
        "there is no such folder (paths are taken from the current directory)".to_owned()
    };
    if folder.starts_with("data/reviews") {
        remedy.push_str("; `make setup` fetches data/reviews");
    } else if cfg!(feature = "hub") && is_on_hub {
        remedy.push_str("; `--data hub` fetches the task from the hub");
    } else if folder == Path::new(DATA_FOLDER) {
        remedy.push_str("; `--data DIR` or REGATTA_DATA names another");
    }
    remedy
}

/// The model, its sizes and tokenizer; `None` when a problem was reported.
fn load_model(
    plan: &Plan,
    problems: &mut Problems,
) -> Option<(ModelFiles, Arc<dyn Architecture>, TextEncoder)> {
    let model = match &plan.model.source {
        ModelSource::Local(path) => local_model(path, plan, problems)?,
        ModelSource::Hub(name) => {
            let folder = model_dir(name)
                .map_err(|error| problems.report_error("model", error))
                .ok()?;
            local_model(&folder, plan, problems)?
        }
        ModelSource::Random {
            architecture,
            tokenizer,
        } => random(architecture, tokenizer, problems)?,
    };
    let found = model
        .architecture()
        .map_err(|error| problems.report_error("model", error))
        .ok()?;
    found
        .check_objective(&plan.data.task.objective())
        .map_err(|error| problems.report_error("model", error))
        .ok()?;
    check_layers(plan, &*found, problems);
    let encoder = encoder(&model, &*found, plan)
        .map_err(|error| problems.report_error(key_of(&error, plan, "model"), error))
        .ok()?;
    Some((model, found, encoder))
}

/// Whether the model has the layers that are to be adapted, as the settings have them.
fn check_layers(plan: &Plan, model: &dyn Architecture, problems: &mut Problems) {
    let chosen = Targets::of(&plan.adapter_on(model)).choose(model);
    for (key, error) in chosen.err().unwrap_or_default() {
        problems.report_error(key, error);
    }
    let given = plan.settings.fan_in_fan_out;
    if given.is_some_and(|given| given != model.stores_in_out()) {
        let wrong = match model.stores_in_out() {
            true => "the model stores the weights of its layers as (in, out)",
            false => "the model stores the weights of its layers as (out, in)",
        };
        problems.report("fan_in_fan_out", wrong, "omit it");
    }
}

/// The setting under which an error of tokenising is reported: the one that named the tokenizer
/// where that is to blame.
#[must_use]
pub fn key_of(error: &DataError, plan: &Plan, otherwise: &'static str) -> &'static str {
    match (error, &plan.model.source) {
        (DataError::SequenceLength { .. }, _) => "max_seq_length",
        (DataError::Template { .. }, _) => "template",
        (_, ModelSource::Random { .. }) => "tokenizer",
        (DataError::Model(_), _) if plan.model.tokenizer.is_some() => "tokenizer",
        (DataError::Model(_), _) => "model",
        _ => otherwise,
    }
}

fn random(
    architecture: &ArchitectureName,
    tokenizer: &Path,
    problems: &mut Problems,
) -> Option<ModelFiles> {
    let is_there = require_tokenizer(tokenizer, problems);
    let model = ModelFiles::random(architecture, tokenizer);
    let model = model
        .map_err(|error| problems.report_error("model", error))
        .ok();
    model.filter(|_| is_there)
}

/// The tokenizer of a plan's model.
///
/// # Errors
/// If it cannot be used, or does not fit the model.
pub(crate) fn encoder(
    model: &ModelFiles,
    architecture: &dyn Architecture,
    plan: &Plan,
) -> Result<TextEncoder, DataError> {
    let max_seq_length = plan.max_seq_length_on(architecture);
    if max_seq_length < plan.data.max_seq_length {
        tracing::warn!(
            "texts are cut to {max_seq_length} tokens, not to {}: the model takes no more",
            plan.data.max_seq_length
        );
    }
    let max_seq_length = max_seq_length as usize;
    let file = match (model, &plan.model.tokenizer) {
        (ModelFiles::Snapshot(folder), None) => {
            return TextEncoder::from_model_dir(folder, max_seq_length);
        }
        (ModelFiles::Gguf(file), None) => return TextEncoder::from_gguf(file, max_seq_length),
        (ModelFiles::Random { tokenizer, .. }, _) => tokenizer,
        (_, Some(file)) => file,
    };
    // The files beside it say all.
    let limits = TokenizerLimits {
        tokenizer_class: None,
        ..TokenizerLimits::of(plan.model.source.to_string(), architecture)
    };
    TextEncoder::new(file, &limits, max_seq_length)
}

fn check_meteor(plan: &Plan, problems: &mut Problems) {
    let jar = plan
        .generation
        .as_ref()
        .and_then(|it| it.meteor_jar.as_ref());
    let right = "name meteor-1.5.jar (paths are taken from the current directory)";
    let is_there = jar.is_none_or(|jar| jar.is_file());
    problems.require(is_there, "meteor_jar", "there is no such file", right);
}

/// The PEFT folder that the run starts from; `None` when a problem was reported.
fn read_init_adapter(plan: &Plan, problems: &mut Problems) -> Option<Option<PeftFolder>> {
    let Some(folder) = &plan.model.init_adapter else {
        return Some(None);
    };
    if !folder.join("adapter_config.json").is_file() {
        let wrong = "there is no adapter_config.json in that folder";
        problems.report("init_adapter", wrong, "name a folder that PEFT saved");
        return None;
    }
    PeftFolder::read(folder)
        .map_err(|error| problems.report_error("init_adapter", error))
        .ok()
        .map(Some)
}
