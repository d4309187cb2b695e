//! The task, its data and the model, and where they come from.

use std::path::{Path, PathBuf};

use crate::base::machine::DATA_FOLDER;
use crate::config::plan::{DataPlan, DataSource, ModelPlan};
use crate::config::problems::Origin;
use crate::config::resolve::Resolver;
use crate::config::settings::SETTINGS;
use crate::config::{HUB, NO_TEXT};
use crate::data::partition::spec::Partition;
use crate::model::objective::Objective;
use crate::model::source::files::is_gguf_name;
use crate::model::source::known::ArchitectureName;
use crate::model::source::location::{ModelSource, RANDOM};
use crate::tasks::{Task, registry};

impl Resolver<'_> {
    /// The task, its examples and their division.
    pub(crate) fn data(&mut self) -> DataPlan {
        let source = self.data_source();
        let task = registry::find(&self.value(&SETTINGS.task));
        let task = task.unwrap_or_else(|error| {
            self.problems.report_error("task", error);
            registry::default()
        });
        self.settings.task = Some(task.name().to_owned());
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
        DataPlan {
            task,
            source,
            max_seq_length: self.value(&SETTINGS.max_seq_length),
            partition,
            num_clients,
            limit_train: self.settings.limit_train,
            limit_eval: self.settings.limit_eval,
            limit_test: self.settings.limit_test,
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
        // Scores are divided by their nearest whole number, from 0 to 5.
        let classes = match task.objective() {
            Objective::Classes(names) => names.len(),
            Objective::Score => 6,
            Objective::NextToken => 0,
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
            Objective::Classes(_) | Objective::Score => "roberta-base",
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
