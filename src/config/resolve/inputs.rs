//! The task, its data and the model, and where they come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::machine::DATA_FOLDER;
use crate::config::plan::{DataPlan, DataSource, ModelPlan};
use crate::config::problems::Origin;
use crate::config::resolve::Resolver;
use crate::config::settings::SETTINGS;
use crate::config::tables::ScenarioTables;
use crate::config::tables::task::{TaskKind, TaskTable};
use crate::config::{HUB, NO_TEXT};
use crate::data::partition::spec::Partition;
use crate::model::objective::Objective;
use crate::model::source::files::is_gguf_name;
use crate::model::source::known::ArchitectureName;
use crate::model::source::location::{ModelSource, RANDOM};
use crate::tasks::e2e::E2eTask;
use crate::tasks::instruct::InstructTask;
use crate::tasks::{SharedTask, Task, registry};

impl Resolver<'_> {
    /// The task, its examples and their division. What is decided of a task on the user's own files
    /// is recorded in its table.
    pub(crate) fn data(&mut self, tables: &mut ScenarioTables) -> DataPlan {
        let (task, source) = match &mut tables.task {
            Some(table) => self.own_data(table),
            None => self.named_task(),
        };
        let partition = self.parsed(&SETTINGS.partition);
        let partition = partition.unwrap_or(Partition::Iid);
        self.check_classes(&*task, &partition);
        let num_clients = self.value(&SETTINGS.num_clients);
        let least = u64::from(num_clients);
        if let Some(limit) = self.settings.limit_train.filter(|limit| *limit < least) {
            self.problems.report(
                "limit_train",
                format_args!("{limit} examples leave some of {num_clients} clients without any"),
                format_args!("give at least {num_clients}, or fewer clients"),
            );
        }
        let longest = task.max_seq_length();
        let max_seq_length = *self.settings.max_seq_length.get_or_insert(longest);
        DataPlan {
            task,
            source,
            max_seq_length,
            partition,
            num_clients,
            limit_train: self.settings.limit_train,
            limit_eval: self.settings.limit_eval,
            limit_test: self.settings.limit_test,
            notices: std::mem::take(&mut self.notices),
        }
    }

    /// A task that the program knows, and where its files are.
    fn named_task(&mut self) -> (SharedTask, DataSource) {
        let source = self.data_source();
        let task = registry::find(&self.value(&SETTINGS.task));
        let task = match task {
            Ok(task) => task,
            Err(error) => {
                let right = "a file of your own ends with .csv, .tsv, .jsonl, .ndjson, .json or \
                             .parquet, or with .toml if it describes a task";
                self.problems.report("task", error, right);
                // Which other settings go with the task is not known.
                return (registry::default(), source);
            }
        };
        let task = self.with_template(task);
        self.settings.task = Some(task.name().to_owned());
        self.reject_own_data(&*task);
        (task, source)
    }

    /// A task on the user's own files, and the folder that their paths begin in.
    fn own_data(&mut self, table: &mut TaskTable) -> (SharedTask, DataSource) {
        if self.settings.task.is_some() {
            let wrong = "the scenario has a table [task] too";
            self.problems.report("task", wrong, "omit one of the two");
        }
        let folder = PathBuf::from(self.settings.data.clone().unwrap_or_default());
        if folder == Path::new(HUB) {
            let right = "omit it, or name the folder that the files' paths begin in";
            self.problems
                .report("data", "own data are no data set of the hub", right);
        }
        let task = self.own_task(table, Some(&folder));
        let task = task.unwrap_or_else(|| stand_in(table.kind));
        (self.with_template(task), DataSource::Folder(folder))
    }

    /// The task with the template that is given.
    fn with_template(&mut self, task: SharedTask) -> SharedTask {
        let Some(name) = self.settings.template.take() else {
            self.settings.template = task.template();
            return task;
        };
        match task.with_template(&name) {
            Some(Ok(with)) => {
                self.settings.template = Some(name);
                with
            }
            Some(Err(wrong)) => {
                self.problems.report_error("template", wrong);
                task
            }
            None => {
                self.reject_unused(
                    "template",
                    format_args!("{task}, which has no choice of it"),
                );
                task
            }
        }
    }

    fn check_classes(&mut self, task: &dyn Task, partition: &Partition) {
        let by_class = matches!(partition, Partition::Classes(_) | Partition::Dirichlet(_));
        if by_class && task.objective() == Objective::NextToken {
            let wrong = format_args!("{task} has no classes");
            let right = "divide it by a column with natural:COLUMN, or use iid or quantity(ALPHA)";
            self.problems.report("partition", wrong, right);
            return;
        }
        // A text with none of several labels is in a group of its own. The groups of scores that
        // are not known beforehand are those of the data.
        let classes = match (task.objective(), task.whole_scores()) {
            (Objective::Classes(names), _) => names.len(),
            (Objective::Multilabel(names), _) => names.len() + 1,
            (Objective::Score, Some(numbers)) => numbers.count(),
            (Objective::Score, None) => return,
            (Objective::NextToken, _) => 0,
        };
        if let Partition::Classes(wanted) = partition {
            self.problems.require(
                (1..=classes).contains(wanted),
                "partition",
                format_args!("{task} has {classes} classes"),
                format_args!("give classes(K) with K from 1 to {classes}"),
            );
        }
    }

    fn data_source(&mut self) -> DataSource {
        let data = self.settings.data.take().unwrap_or_else(|| {
            if let Some(folder) = &self.machine.data_variable {
                let origin = Origin::Environment("REGATTA_DATA");
                let text = folder.to_string_lossy();
                self.problems.origins_mut().note("data", origin, &*text);
                if folder.to_str().is_none() {
                    self.problems.report_error("data", NO_TEXT);
                }
                text.into_owned()
            } else if self.machine.has_data_folder || !cfg!(feature = "hub") {
                DATA_FOLDER.to_owned()
            } else {
                HUB.to_owned()
            }
        });
        self.settings.data = Some(data.clone());
        if data == HUB {
            self.require_hub("data");
            DataSource::Hub
        } else {
            DataSource::Folder(PathBuf::from(data))
        }
    }

    /// The pretrained model, for a task that wants this of it.
    pub(crate) fn model(&mut self, objective: &Objective) -> ModelPlan {
        let default = match objective {
            Objective::Classes(_) | Objective::Multilabel(_) | Objective::Score => "roberta-base",
            Objective::NextToken => "gpt2",
        };
        let name = self.settings.model.get_or_insert_with(|| default.into());
        let name = name.clone();
        let source = if let Some(architecture) = name.strip_prefix(RANDOM) {
            self.random_model(architecture)
        } else if is_hub_name(&name) {
            self.require_hub("model");
            ModelSource::Hub(name)
        } else {
            ModelSource::Local(PathBuf::from(name))
        };
        let tokenizer = match source {
            ModelSource::Random { .. } => None,
            _ => self.settings.tokenizer.clone(),
        };
        ModelPlan {
            source,
            tokenizer,
            dropout: self.settings.model_dropout,
            base_precision: self.unrecorded(&SETTINGS.base_precision),
            init_adapter: self.settings.init_adapter.clone(),
        }
    }

    /// A model whose weights are drawn.
    fn random_model(&mut self, architecture: &str) -> ModelSource {
        let parsed = architecture.parse();
        if let Err(error) = &parsed {
            self.problems.report_error("model", error);
        }
        let tokenizer = self.settings.tokenizer.clone();
        self.problems.require(
            tokenizer.is_some(),
            "model",
            "a random model has no tokenizer",
            "name a tokenizer.json with --tokenizer",
        );
        ModelSource::Random {
            architecture: parsed.unwrap_or_else(|_| ArchitectureName::File(PathBuf::new())),
            tokenizer: tokenizer.unwrap_or_default(),
        }
    }

    fn require_hub(&mut self, key: &str) {
        self.problems.require(
            cfg!(feature = "hub"),
            key,
            "this program was built without the hub",
            "name a folder, or build with the feature `hub`",
        );
    }
}

/// A task of the same kind as one of the user's own that could not be described, so that what is
/// reported of it is not followed by errors in settings that go with that kind.
fn stand_in(kind: Option<TaskKind>) -> SharedTask {
    match kind {
        Some(TaskKind::NextToken) => SharedTask(Arc::new(E2eTask)),
        Some(TaskKind::Instruct) => SharedTask(Arc::new(InstructTask::default())),
        Some(TaskKind::Classes | TaskKind::Multilabel | TaskKind::Score) | None => {
            registry::default()
        }
    }
}

/// Whether a model's name is one of the hub's (`roberta-base`, `FacebookAI/roberta-base`) rather
/// than a folder's or a GGUF file's. `models/` is where the set-up puts folders, so it never names
/// an owner.
pub(crate) fn is_hub_name(name: &str) -> bool {
    let usable = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let parts: Vec<_> = name.split('/').collect();
    !Path::new(name).exists()
        && !is_gguf_name(Path::new(name))
        && parts.len() <= 2
        && parts.iter().all(|part| usable(part))
        && (parts.len() == 1 || parts[0] != "models")
}
