//! The tables of a scenario, and the settings that belong to them, become what the actors take.
//!
//! The actors check their plan themselves. Here their checks run on what each table became, and
//! what they find is reported at its line of the scenario. Only what a plan does not show is
//! checked here: keys that are missing or have no meaning, and the groups of clients.

pub(crate) mod clients;
pub(crate) mod faults;
pub(crate) mod rounds;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::iter::successors;
use std::time::Duration;

use regatta_actors::plan::errors::PlanErrors;
use regatta_actors::plan::{CheckpointPolicy, ClockMode};

use crate::base::time;
use crate::config::plan::SimulationPlan;
use crate::config::resolve::Resolver;
use crate::config::settings::{Clock, SETTINGS};
use crate::config::tables::ScenarioTables;

/// The ends of paths in a plan, with those of the keys that a scenario has for them.
const KEYS: [(&str, &str); 12] = [
    ("availability.mean_on", "availability.on"),
    ("availability.mean_off", "availability.off"),
    ("policy.seconds", "policy.after"),
    ("policy.late.carry.exponent", "policy.staleness_exponent"),
    ("policy.staleness.exponent", "policy.staleness_exponent"),
    ("size.number", "number"),
    ("size.fraction", "fraction"),
    ("by.utility.exploration", "exploration"),
    ("by.utility.penalty", "penalty"),
    ("by.utility.preferred_seconds", "preferred"),
    ("].seconds", "].delay"),
    ("].downtime", "].delay"),
];

impl Resolver<'_> {
    /// The simulation.
    pub(crate) fn simulation(
        &mut self,
        tables: &ScenarioTables,
        num_clients: u32,
        rounds: u32,
        seed: u64,
    ) -> SimulationPlan {
        let fleet = num_clients as usize;
        let sampling = self.sampling(tables.sampling.as_ref(), fleet);
        let policy = self.policy(tables.policy.as_ref(), &sampling, fleet);
        let most = policy.most_updates(&sampling, fleet);
        SimulationPlan {
            profiles: self.profiles(&tables.clients, num_clients, seed),
            faults: self.faults(&tables.faults, num_clients, rounds),
            policy,
            too_few: self.too_few(tables.too_few.as_ref(), most),
            sampling,
            restart: self.restart(tables.restart.as_ref()),
            checkpoints: self.checkpoints(),
            clock: self.clock(),
            watchdog: self.watchdog(),
        }
    }

    fn checkpoints(&mut self) -> CheckpointPolicy {
        CheckpointPolicy {
            every: self.value(&SETTINGS.checkpoint_every),
            keep: self.value(&SETTINGS.keep_checkpoints),
        }
    }

    fn clock(&mut self) -> ClockMode {
        if self.value(&SETTINGS.clock) == Clock::Virtual {
            self.reject_unused("clock_scale", "the virtual clock");
            return ClockMode::Virtual;
        }
        ClockMode::Wall {
            scale: self.value(&SETTINGS.clock_scale),
        }
    }

    fn watchdog(&mut self) -> Option<Duration> {
        let text = self.value(&SETTINGS.watchdog);
        if text == "off" {
            return None;
        }
        let duration = time::duration(&text);
        let right = "give one such as \"10 min\", or off";
        self.problems
            .require(duration.is_some(), "watchdog", "not a duration", right);
        duration
    }

    /// Runs a check of the actors, and reports what it finds under the scenario's keys.
    fn check(&mut self, check: impl FnOnce(&mut PlanErrors)) {
        let mut errors = PlanErrors::default();
        check(&mut errors);
        for error in errors.0 {
            let key = self.key_of(&error.path);
            self.problems.report_error(&key, error.message);
        }
    }

    /// The scenario's key for a path in a plan.
    fn key_of(&self, path: &str) -> String {
        let renamed = |(end, key): &(&str, &str)| Some(path.strip_suffix(end)?.to_owned() + key);
        let key = KEYS.iter().find_map(renamed);
        let key = key.unwrap_or_else(|| path.to_owned());
        // A list, or a choice with its parameters, is one value in a scenario.
        let given = successors(Some(key.as_str()), |key| holder(key))
            .find(|key| self.problems.origins().given(key))
            .map(str::to_owned);
        given.unwrap_or(key)
    }

    /// What a table needs: the value, or a report under the table's own place.
    fn needed<T>(
        &mut self,
        table: &str,
        key: &str,
        with: impl Display,
        value: Option<T>,
    ) -> Option<T> {
        if value.is_none() && self.problems.readable(&[&format!("{table}.{key}")]) {
            let wrong = format_args!("lacks `{key}`");
            self.problems
                .report(table, wrong, format_args!("{with} needs it"));
        }
        value
    }

    /// Reports the keys of a table that were given and are not among those that mean something.
    fn only(&mut self, table: &str, with: &str, all: &[&str], meant: &[&str]) {
        for key in all.iter().filter(|key| !meant.contains(key)) {
            self.reject_unused(&format!("{table}.{key}"), with);
        }
    }
}

/// The path of what holds a path's last key or index.
fn holder(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).map(|end| &path[..end])
}
