//! Fills in the defaults and checks ranges and combinations: [`Settings`] become a [`Plan`].
//!
//! Each default is written into the settings where it is decided, so that the resolved scenario
//! is complete; a setting without meaning for the run stays unset.

pub(crate) mod adapter;
pub(crate) mod devices;
pub(crate) mod generation;
pub(crate) mod inputs;
pub(crate) mod tables;
pub(crate) mod task;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

use crate::adapter::settings::AdapterKind;
use crate::aggregate::settings::MethodName;
use crate::base::machine::Host;
use crate::base::machine::device::DeviceSpec;
use crate::config::CONTROL;
use crate::config::plan::{Plan, TelemetryPlan};
use crate::config::problems::Problems;
use crate::config::settings::{ALL, Defaulted, SETTINGS, Settings};
use crate::config::tables::ScenarioTables;
use crate::model::objective::Objective;
use crate::tasks::Task;
use crate::train::settings::TrainingPlan;

/// Decides everything, or says all that is wrong.
pub(crate) fn resolve(
    settings: Settings,
    mut tables: ScenarioTables,
    scenario_name: Option<&str>,
    machine: &Host,
    problems: Problems,
) -> Result<Plan, Problems> {
    let mut resolver = Resolver {
        settings,
        problems,
        machine,
        notices: Vec::new(),
    };
    resolver.check_ranges();
    let data = resolver.data(&mut tables);
    let objective = data.task.objective();
    let model = resolver.model(&objective);
    let (adapter, aggregation) = resolver.adapter(data.num_clients, &objective);
    if adapter.kind == AdapterKind::SorfVera {
        resolver.reject_unused("init_adapter", "SORF-VeRA, which PEFT does not know");
    }
    let devices = resolver.devices(data.num_clients);
    let generation = resolver.generation(&*data.task);
    let training = resolver.training(devices.server, &objective);
    let telemetry = resolver.telemetry();
    let control = resolver.address(&SETTINGS.control, CONTROL);
    let name = resolver.name(scenario_name, &*data.task, aggregation.method);
    // The results' location is not part of what is recorded with them.
    let out = resolver.settings.out.take();
    let seed = resolver.value(&SETTINGS.seed);
    let rounds = resolver.value(&SETTINGS.rounds);
    let simulation = resolver.simulation(&tables, data.num_clients, rounds, seed);
    resolver.check_staleness(&simulation.policy, aggregation.method);
    let eval_every = resolver.value(&SETTINGS.eval_every);
    let local_baseline = resolver.unrecorded(&SETTINGS.local_baseline);
    let predict = resolver.unrecorded(&SETTINGS.predict);
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
        local_baseline,
        predict,
        data,
        model,
        adapter,
        aggregation,
        training,
        generation,
        devices,
        simulation,
        telemetry,
        control,
        settings,
        tables,
        origins,
    })
}

/// Whether a file or folder can have this name.
fn is_usable_as_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_usable_in_names)
}

fn is_usable_in_names(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

struct Resolver<'a> {
    settings: Settings,
    problems: Problems,
    machine: &'a Host,
    /// What the user is to know of choices that are made where nothing is said.
    notices: Vec<String>,
}

impl Resolver<'_> {
    fn training(&mut self, server: DeviceSpec, objective: &Objective) -> TrainingPlan {
        match objective {
            Objective::Score => {
                self.reject_unused("label_smoothing", "a task whose labels are scores");
            }
            Objective::Multilabel(_) => {
                self.reject_unused("label_smoothing", "a task with several labels per text");
            }
            Objective::Classes(_) | Objective::NextToken => {}
        }
        if *objective != Objective::NextToken {
            self.reject_unused("pack", "a task whose models do not give the next token");
        }
        // What is fastest: on a CPU what stays in its caches, on a GPU what fills it.
        let eval_batch = match server {
            DeviceSpec::Cpu => 16,
            DeviceSpec::Cuda(_) => 128,
        };
        TrainingPlan {
            local_epochs: self.value(&SETTINGS.local_epochs),
            batch_size: self.value(&SETTINGS.batch_size),
            clients_per_step: self.unrecorded(&SETTINGS.clients_per_step),
            eval_batch_size: *self.settings.eval_batch_size.get_or_insert(eval_batch),
            lr: self.value(&SETTINGS.lr),
            warmup_ratio: self.value(&SETTINGS.warmup_ratio),
            weight_decay: self.value(&SETTINGS.weight_decay),
            shuffle: !self.value(&SETTINGS.no_shuffle),
            pack: self.unrecorded(&SETTINGS.pack),
            label_smoothing: self.unrecorded(&SETTINGS.label_smoothing),
            max_grad_norm: self.settings.max_grad_norm,
            checkpoint_blocks: self.unrecorded(&SETTINGS.checkpoint_blocks),
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

    fn name(&mut self, scenario: Option<&str>, task: &dyn Task, method: MethodName) -> String {
        let mut default = scenario.map_or_else(
            || format!("{task}-{method}"),
            |stem| stem.replace(|c| !is_usable_in_names(c), "-"),
        );
        if let Some(number) = self.settings.idx.take() {
            default = self.settings.name.take().unwrap_or(default) + &format!("-{number}");
        }
        let name = self.settings.name.get_or_insert(default).clone();
        self.problems.require(
            is_usable_as_name(&name),
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

    /// The value of a setting that is recorded only if it is given. A setting that runs of earlier
    /// versions do not record has to be one, or they could not be resumed.
    fn unrecorded<T: Clone>(&mut self, setting: &Defaulted<T>) -> T {
        setting.value_in(&mut self.settings)
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
}
