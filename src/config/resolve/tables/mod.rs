//! Checks the tables of a scenario and the settings that belong to them.

pub(crate) mod clients;
pub(crate) mod faults;
pub(crate) mod rounds;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::time::Duration;

use regatta_actors::plan::{CheckpointPolicy, ClockMode};

use crate::config::plan::SimulationPlan;
use crate::config::resolve::Resolver;
use crate::config::settings::{Clock, SETTINGS};
use crate::config::tables::ScenarioTables;

impl Resolver<'_> {
    /// The simulation.
    pub(crate) fn simulation(
        &mut self,
        script: &ScenarioTables,
        num_clients: u32,
        rounds: u32,
        seed: u64,
    ) -> SimulationPlan {
        let sampling = self.sampling(script.sampling.as_ref(), num_clients);
        SimulationPlan {
            profiles: self.profiles(&script.clients, num_clients, seed),
            faults: self.faults(&script.faults, num_clients, rounds),
            policy: self.policy(script.policy.as_ref(), &sampling, num_clients),
            too_few: self.too_few(script.too_few.as_ref(), num_clients),
            sampling,
            restart: self.restart(script.restart.as_ref()),
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
        let parsed = text.parse::<jiff::SignedDuration>().ok();
        let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
        let duration = duration.filter(|duration| !duration.is_zero());
        let right = "give one such as \"10 min\", or off";
        self.problems
            .require(duration.is_some(), "watchdog", "not a duration", right);
        duration
    }

    /// A number that has to be greater than 0.
    fn above_zero(&mut self, key: &str, value: f64) {
        self.number(key, value, f64::MIN_POSITIVE..f64::INFINITY, "above 0");
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
