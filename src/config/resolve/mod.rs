//! Fills in the defaults and checks ranges and combinations: [`Settings`] become a [`Plan`].
//!
//! Each default is written into the settings where it is decided, so that the resolved scenario
//! is complete; a setting without meaning for the run stays unset.

pub(crate) mod adapter;
pub(crate) mod devices;
pub(crate) mod tables;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::adapter::settings::AdapterKind;
use crate::aggregate::settings::MethodName;
use crate::base::machine::device::DeviceSpec;
use crate::base::machine::{DATA_FOLDER, Host};
use crate::config::plan::{DataPlan, DataSource, ModelPlan, Plan, TelemetryPlan};
use crate::config::problems::{Origin, Problems};
use crate::config::setting::Setting;
use crate::config::settings::{ALL, SETTINGS, Settings};
use crate::config::tables::ScenarioTables;
use crate::config::{CONTROL, HUB, NO_TEXT};
use crate::data::partition::spec::Partition;
use crate::model::source::architecture::Architecture;
use crate::model::source::location::{ModelSource, RANDOM};
use crate::tasks::glue::task::Task;
use crate::train::settings::TrainingPlan;

/// Decides everything, or says all that is wrong.
pub(crate) fn resolve(
    settings: Settings,
    script: ScenarioTables,
    scenario_name: Option<&str>,
    machine: &Host,
    problems: Problems,
) -> Result<Plan, Problems> {
    let mut resolver = Resolver {
        settings,
        problems,
        machine,
    };
    resolver.check_ranges();
    let data = resolver.data();
    let model = resolver.model();
    let (adapter, aggregation) = resolver.adapter(data.num_clients);
    if adapter.kind == AdapterKind::SorfVera {
        resolver.reject_unused("init_adapter", "SORF-VeRA, which PEFT does not know");
    }
    let devices = resolver.devices(data.num_clients);
    let training = resolver.training(devices.server);
    let telemetry = resolver.telemetry();
    let control = resolver.address(&SETTINGS.control, CONTROL);
    let name = resolver.name(scenario_name, data.task, aggregation.method);
    // The results' location is not part of what is recorded with them.
    let out = resolver.settings.out.take();
    let seed = resolver.value(&SETTINGS.seed);
    let rounds = resolver.value(&SETTINGS.rounds);
    let simulation = resolver.simulation(&script, data.num_clients, rounds, seed);
    resolver.check_staleness(&simulation.policy, aggregation.method);
    let eval_every = resolver.value(&SETTINGS.eval_every);
    let Resolver {
        settings, problems, ..
    } = resolver;
    let origins = problems.origins().clone();
    problems.into_result(Plan {
        name,
        out,
        seed,
        rounds,
        eval_every,
        data,
        model,
        adapter,
        aggregation,
        training,
        devices,
        simulation,
        telemetry,
        control,
        settings,
        script,
        origins,
    })
}

/// A setting whose default is a value.
type Defaulted<T> = Setting<Settings, T, fn() -> T>;

struct Resolver<'a> {
    settings: Settings,
    problems: Problems,
    machine: &'a Host,
}

impl Resolver<'_> {
    fn data(&mut self) -> DataPlan {
        let source = self.data_source();
        let task = self.parsed(&SETTINGS.task);
        let task = task.unwrap_or(Task::Cola);
        self.settings.task = Some(task.name().to_owned());
        let partition = self.parsed(&SETTINGS.partition);
        let partition = partition.unwrap_or(Partition::Iid);
        self.check_classes(task, &partition);
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
        }
    }

    fn check_classes(&mut self, task: Task, partition: &Partition) {
        // Scores are divided by their nearest whole number, from 0 to 5.
        let classes = if task.is_regression() {
            6
        } else {
            task.num_labels()
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

    fn model(&mut self) -> ModelPlan {
        let name = self.value(&SETTINGS.model);
        let source = if let Some(architecture) = name.strip_prefix(RANDOM) {
            self.random_model(architecture)
        } else if is_hub_name(&name) {
            self.require_hub("model");
            ModelSource::Hub(name)
        } else {
            ModelSource::Folder(PathBuf::from(name))
        };
        if !matches!(source, ModelSource::Random { .. }) {
            self.reject_unused("tokenizer", "a model that brings its own");
        }
        ModelPlan {
            source,
            dropout: self.settings.model_dropout,
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
            architecture: parsed.unwrap_or_else(|_| Architecture::File(PathBuf::new())),
            tokenizer: tokenizer.unwrap_or_default(),
        }
    }

    fn training(&mut self, server: DeviceSpec) -> TrainingPlan {
        // What is fastest: on a CPU what stays in its caches, on a GPU what fills it.
        let eval_batch = match server {
            DeviceSpec::Cpu => 16,
            DeviceSpec::Cuda(_) => 128,
        };
        TrainingPlan {
            local_epochs: self.value(&SETTINGS.local_epochs),
            batch_size: self.value(&SETTINGS.batch_size),
            eval_batch_size: *self.settings.eval_batch_size.get_or_insert(eval_batch),
            lr: self.value(&SETTINGS.lr),
            warmup_ratio: self.value(&SETTINGS.warmup_ratio),
            weight_decay: self.value(&SETTINGS.weight_decay),
            shuffle: !self.value(&SETTINGS.no_shuffle),
            precision: self.value(&SETTINGS.precision),
        }
    }

    fn telemetry(&mut self) -> TelemetryPlan {
        let linger = self.value(&SETTINGS.metrics_linger);
        let linger = linger
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|linger| Duration::try_from(linger).ok());
        if linger.is_none() {
            let right = "give a duration such as \"30 s\" or \"5 min\"";
            self.problems
                .report("metrics_linger", "not a duration", right);
        }
        TelemetryPlan {
            ledger: self.value(&SETTINGS.ledger),
            metrics: self.address(&SETTINGS.metrics, &SETTINGS.metrics.default_value()),
            web: self.address(&SETTINGS.web, &SETTINGS.web.default_value()),
            linger: linger.unwrap_or_default(),
            client_series: self.value(&SETTINGS.client_series),
            tensorboard: self.value(&SETTINGS.tensorboard),
            quiet: self.value(&SETTINGS.quiet),
        }
    }

    /// A setting that is an address, or off.
    fn address(&mut self, setting: &Defaulted<String>, example: &str) -> Option<SocketAddr> {
        let value = self.value(setting);
        if value == "off" {
            return None;
        }
        let parsed = value.parse().ok();
        let right = format!("give an address and a port such as {example}, or off");
        let key = setting.facts.key;
        self.problems
            .require(parsed.is_some(), key, "not a network address", &right);
        parsed
    }

    fn name(&mut self, scenario: Option<&str>, task: Task, method: MethodName) -> String {
        let usable = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let default = scenario.map_or_else(
            || format!("{task}-{method}"),
            |stem| stem.replace(|c| !usable(c), "-"),
        );
        let name = self.settings.name.get_or_insert(default).clone();
        self.problems.require(
            !name.is_empty() && !name.starts_with('.') && name.chars().all(usable),
            "name",
            "not usable as a folder's name",
            "use letters, digits, `-`, `_` and `.`",
        );
        name
    }

    /// Reports each setting that is out of its range.
    fn check_ranges(&mut self) {
        for setting in ALL {
            if let Err(right) = setting.bring_into_range(&mut self.settings) {
                let key = setting.facts().key;
                self.problems.report(key, "out of range", right);
            }
        }
    }

    /// The value of a setting. Where it is not given, it is set to its default.
    fn value<T: Clone>(&mut self, setting: &Defaulted<T>) -> T {
        setting.fill_in(&mut self.settings).clone()
    }

    /// The value of a setting that has a meaning with some adapters. With others it is the default,
    /// and the setting stays unset.
    fn value_with<T: Clone>(&mut self, kind: AdapterKind, setting: &Defaulted<T>) -> T {
        if setting.facts.goes_with(kind) {
            self.value(setting)
        } else {
            setting.default_value()
        }
    }

    /// A number that must lie in a range.
    fn number(&mut self, key: &str, value: f64, range: impl RangeBounds<f64>, right: &str) {
        let right = format_args!("give a number {right}");
        self.problems
            .require(range.contains(&value), key, "out of range", right);
    }

    /// A text setting with its own syntax.
    fn parsed<T: FromStr<Err: Display>>(&mut self, setting: &Defaulted<String>) -> Option<T> {
        match self.value(setting).parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.report_error(setting.facts.key, error);
                None
            }
        }
    }

    /// Reports a setting that was given though it means nothing here.
    fn reject_unused(&mut self, key: &str, with: impl Display) {
        if self.problems.origins().given(key) {
            let wrong = format_args!("has no meaning with {with}");
            self.problems.report(key, wrong, "omit it");
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
/// than a folder's. `models/` is where the set-up puts folders, so it never names an owner.
fn is_hub_name(name: &str) -> bool {
    let usable = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let parts: Vec<_> = name.split('/').collect();
    !Path::new(name).exists()
        && parts.len() <= 2
        && parts.iter().all(|part| usable(part))
        && (parts.len() == 1 || parts[0] != "models")
}
