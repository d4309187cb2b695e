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
use std::time::Duration;

use crate::adapter::settings::AdapterKind;
use crate::aggregate::settings::MethodName;
use crate::base::machine::device::DeviceSpec;
use crate::base::machine::{DATA_FOLDER, Host};
use crate::config::plan::{DataPlan, DataSource, ModelPlan, Plan, TelemetryPlan};
use crate::config::problems::{Origin, Problems};
use crate::config::settings::Settings;
use crate::config::tables::ScenarioTables;
use crate::config::{METRICS, NO_TEXT, WEB, bounds};
use crate::data::partition::spec::Partition;
use crate::model::source::architecture::Architecture;
use crate::model::source::location::{ModelSource, RANDOM};
use crate::tasks::glue::locate::HUB;
use crate::tasks::glue::task::Task;
use crate::train::settings::{Precision, TrainingPlan};

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
    let data = resolver.data();
    let model = resolver.model();
    let (adapter, aggregation) = resolver.adapter(data.num_clients);
    if adapter.kind == AdapterKind::SorfVera {
        resolver.reject_unused("init_adapter", "SORF-VeRA, which PEFT does not know");
    }
    let devices = resolver.devices(data.num_clients);
    let training = resolver.training(devices.server);
    let telemetry = resolver.telemetry();
    let control = resolver.control();
    let name = resolver.name(scenario_name, data.task, aggregation.method);
    // The results' location is not part of what is recorded with them.
    let out = resolver.settings.out.take();
    let seed = *resolver.settings.seed.get_or_insert(42);
    let rounds = resolver.count("rounds", |s| s.rounds.get_or_insert(50));
    let simulation = resolver.simulation(&script, data.num_clients, rounds, seed);
    resolver.check_staleness(&simulation.policy, aggregation.method);
    let eval_every = resolver.count("eval_every", |s| s.eval_every.get_or_insert(1));
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

struct Resolver<'a> {
    settings: Settings,
    problems: Problems,
    machine: &'a Host,
}

impl Resolver<'_> {
    fn data(&mut self) -> DataPlan {
        let source = self.data_source();
        let task = self.parsed("task", |s| s.task.get_or_insert_with(|| "cola".into()));
        let task = task.unwrap_or(Task::Cola);
        self.settings.task = Some(task.name().to_owned());
        let partition = self.parsed("partition", |s| {
            s.partition.get_or_insert_with(|| "iid".into())
        });
        let partition = partition.unwrap_or(Partition::Iid);
        self.check_classes(task, &partition);
        let num_clients = self.count("num_clients", |s| s.num_clients.get_or_insert(3));
        let least = u64::from(num_clients);
        if let Some(limit) = self.settings.limit_train.filter(|limit| *limit < least) {
            self.problems.report(
                "limit_train",
                format_args!("{limit} examples leave some of {num_clients} clients without any"),
                format_args!("give at least {num_clients}, or fewer clients"),
            );
        }
        let limit_eval = self.settings.limit_eval;
        self.problems.require(
            limit_eval != Some(0),
            "limit_eval",
            "nothing is left to evaluate on",
            "give at least 1",
        );
        DataPlan {
            task,
            source,
            max_seq_length: self.count("max_seq_length", |s| s.max_seq_length.get_or_insert(128)),
            partition,
            num_clients,
            limit_train: self.settings.limit_train,
            limit_eval,
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
        let name = self
            .settings
            .model
            .get_or_insert_with(|| "roberta-base".into())
            .clone();
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
        let dropout = self.settings.model_dropout;
        if let Some(dropout) = dropout {
            self.number("model_dropout", dropout, 0.0..1.0, "from 0 to less than 1");
        }
        ModelPlan {
            source,
            dropout,
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
        let lr = *self.settings.lr.get_or_insert(1e-3);
        self.number("lr", lr, f64::MIN_POSITIVE..f64::INFINITY, "above 0");
        let warmup_ratio = *self.settings.warmup_ratio.get_or_insert(0.06);
        self.number("warmup_ratio", warmup_ratio, 0.0..=1.0, "from 0 to 1");
        let weight_decay = *self.settings.weight_decay.get_or_insert(0.01);
        self.number("weight_decay", weight_decay, 0.0..f64::INFINITY, "from 0");
        TrainingPlan {
            local_epochs: self.count("local_epochs", |s| s.local_epochs.get_or_insert(3)),
            batch_size: self.count("batch_size", |s| s.batch_size.get_or_insert(32)),
            eval_batch_size: self.count("eval_batch_size", |s| {
                s.eval_batch_size.get_or_insert(eval_batch)
            }),
            lr,
            warmup_ratio,
            weight_decay,
            shuffle: !*self.settings.no_shuffle.get_or_insert(false),
            precision: *self.settings.precision.get_or_insert(Precision::Auto),
        }
    }

    fn telemetry(&mut self) -> TelemetryPlan {
        let metrics = self.settings.metrics.get_or_insert_with(|| METRICS.into());
        let metrics = metrics.clone();
        let metrics = self.address("metrics", &metrics, METRICS);
        let web = self.settings.web.get_or_insert_with(|| WEB.into()).clone();
        let web = self.address("web", &web, WEB);
        let linger = self
            .settings
            .metrics_linger
            .get_or_insert_with(|| "0 s".into())
            .clone();
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
            ledger: *self.settings.ledger.get_or_insert(true),
            metrics,
            web,
            linger: linger.unwrap_or_default(),
            client_series: *self.settings.client_series.get_or_insert(100),
            tensorboard: *self.settings.tensorboard.get_or_insert(false),
            quiet: *self.settings.quiet.get_or_insert(false),
        }
    }

    fn control(&mut self) -> Option<SocketAddr> {
        let address = self.settings.control.get_or_insert_with(|| "off".into());
        let address = address.clone();
        self.address("control", &address, crate::config::CONTROL)
    }

    /// A setting that is an address, or off.
    fn address(&mut self, key: &str, value: &str, example: &str) -> Option<SocketAddr> {
        if value == "off" {
            return None;
        }
        let parsed = value.parse().ok();
        let right = format!("give an address and a port such as {example}, or off");
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

    /// A whole number that must be at least 1, and at most what [`bounds`] says. What comes back
    /// is never more, so that nothing is made too large while further problems are looked for.
    fn count(&mut self, key: &str, slot: impl FnOnce(&mut Settings) -> &mut u32) -> u32 {
        let value = *slot(&mut self.settings);
        self.problems
            .require(value > 0, key, "out of range", "must be at least 1");
        self.at_most(key, value)
    }

    /// Reports a number that is more than [`bounds`] allows; the number, or the most instead.
    fn at_most(&mut self, key: &str, value: u32) -> u32 {
        let most = bounds::most(key);
        let right = format_args!("give at most {most}");
        self.problems
            .require(value <= most, key, "too large", right);
        value.min(most)
    }

    /// A number that must lie in a range.
    fn number(&mut self, key: &str, value: f64, range: impl RangeBounds<f64>, right: &str) {
        let right = format_args!("give a number {right}");
        self.problems
            .require(range.contains(&value), key, "out of range", right);
    }

    /// A text setting with its own syntax.
    fn parsed<T: std::str::FromStr<Err: Display>>(
        &mut self,
        key: &str,
        slot: impl FnOnce(&mut Settings) -> &mut String,
    ) -> Option<T> {
        match slot(&mut self.settings).parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.report_error(key, error);
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
