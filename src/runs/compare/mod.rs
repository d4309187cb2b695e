//! Runs side by side: scores, time to a target, traffic, exactness; seeds grouped.
//!
//! Runs that differ in nothing but their seed are one [`Group`](groups::Group), and a group's numbers are means
//! with the sample standard deviation. What tells groups apart is their label. Groups that differ in
//! few settings can be compared seed by seed ([`paired`]).

pub mod by_setting;
pub mod chart;
pub mod groups;
pub mod page;
pub mod paired;
pub mod paired_table;
#[cfg(test)]
mod samples;
pub mod statistics;
pub mod tables;
pub mod target;

use std::path::{Path, PathBuf};

use regatta_actors::protocol::round_record::RoundRecord;

use crate::config::problems::Problems;
use crate::config::recorded_task;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::state::RunState;
use crate::runs::history::totals::RunTotals;
use crate::tasks::SharedTask;

/// A run, as it is compared.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Its folder.
    pub path: PathBuf,
    /// All its settings and tables.
    pub settings: toml::Table,
    /// Its seed.
    pub seed: u64,
    /// Its task.
    pub task: SharedTask,
    /// Whether it is running, has ended or was killed.
    pub state: RunState,
    /// Its finished rounds, without the clients' parts.
    pub rounds: Vec<RoundRecord>,
    /// The totals of the rounds.
    pub totals: RunTotals,
}

impl Compared {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// The problem with it, in a sentence.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let folder = RunFolder::find(path).map_err(failed)?;
        let scenario = folder.path_of(Artifact::Scenario);
        let in_scenario =
            |error: &dyn std::fmt::Display| format!("{}: {error}", scenario.display());
        let text = std::fs::read_to_string(&scenario).map_err(|e| in_scenario(&e))?;
        let settings: toml::Table =
            toml::from_str(&text).map_err(|error| in_scenario(&error.message()))?;
        let task = recorded_task(&settings);
        let task = task.ok_or_else(|| in_scenario(&"it names no task"))?;
        let seed = settings.get("seed").and_then(toml::Value::as_integer);
        let mut rounds = folder.read_rounds().map_err(failed)?;
        let mut totals = RunTotals::default();
        for record in &mut rounds {
            totals.add(record, &task.metric_set());
            record.clients = Vec::new();
        }
        if rounds.is_empty() {
            return Err(format!("{}: no round has finished", path.display()));
        }
        Ok(Self {
            path: path.to_owned(),
            task,
            seed: seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0),
            settings,
            state: folder.state().map_err(failed)?,
            rounds,
            totals,
        })
    }

    /// The values of a score by round.
    pub fn scores<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a RoundRecord, f64)> {
        let score = |record: &'a RoundRecord| Some((record, *record.eval.as_ref()?.get(name)?));
        self.rounds.iter().filter_map(score)
    }

    /// The last value of a score.
    #[must_use]
    pub fn last_score(&self, name: &str) -> Option<f64> {
        self.scores(name).last().map(|(_, score)| score)
    }

    /// The best value of a score; NaN if it was never a finite number, `None` if it was never
    /// taken.
    #[must_use]
    pub fn best_score(&self, name: &str) -> Option<f64> {
        let best = self.totals.best.get(name).map(|best| best.value);
        best.or_else(|| self.last_score(name).map(|_| f64::NAN))
    }
}

/// Reads runs that are to be compared.
///
/// # Errors
/// Every folder that is not a run, and runs of different tasks.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Compared>, Problems> {
    let mut problems = Problems::default();
    let mut runs: Vec<Compared> = Vec::new();
    for path in paths {
        match Compared::read(path) {
            Ok(run) => runs.push(run),
            Err(wrong) => problems.report_input(wrong),
        }
    }
    if let Some(first) = runs.first() {
        for other in runs.iter().filter(|run| run.task != first.task) {
            let task = match other.task.name() == first.task.name() {
                true => "another task of that name".to_owned(),
                false => other.task.to_string(),
            };
            problems.report_input(format_args!(
                "{} ran {} and {} ran {task}, so their scores cannot be compared; name runs of one \
                 task",
                first.path.display(),
                first.task,
                other.path.display(),
            ));
        }
    }
    problems.into_result(runs)
}
