//! A run's folder at a glance, without all of its ledger: what was run, how far, how well.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use regatta_actors::protocol::json;
use regatta_actors::workload::update::Scores;
use serde::Deserialize;

use crate::config::recorded_task;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::state::RunState;
use crate::runs::history::totals::{Best, note_best};
use crate::tasks::SharedTask;

/// The overview of a run folder, in a line.
#[derive(Debug, Clone)]
pub struct RunOverview {
    /// The settings, as far as they can be read.
    pub scenario: Scenario,
    /// Whether it is running, has ended or was killed.
    pub state: RunState,
    /// Rounds done.
    pub rounds: u32,
    /// The name of the task's own score, for people, if there is any, and its best value, if any was
    /// finite.
    pub best: Option<(String, Option<Best>)>,
    /// The time of its start.
    pub begun: SystemTime,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What is shown of a resolved scenario. It is read leniently: the folder may be an older
/// version's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Scenario {
    /// The run's name.
    pub name: String,
    /// The task.
    pub task: String,
    /// The method.
    pub agg_type: String,
    /// The adapter.
    pub adapter: String,
    /// Clients.
    pub num_clients: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// The seed.
    pub seed: u64,
}

/// What is read of a round; the clients' part, which is most of it, is not.
#[derive(Deserialize)]
struct RoundLine {
    round: u32,
    #[serde(default, deserialize_with = "json::maybe_scores")]
    eval: Option<Scores>,
}

impl RunOverview {
    /// Reads a folder; `None` when it holds no run.
    ///
    /// # Errors
    /// If it cannot be read, or its files are not those of a run.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let folder = RunFolder::at(path);
        let file = match folder.path_of(Artifact::Scenario).metadata() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::fs::read_to_string(folder.path_of(Artifact::Scenario))?;
        let wrong = |error: toml::de::Error| {
            io::Error::other(format!("scenario.toml: {}", error.message()))
        };
        let mut settings: toml::Table = toml::from_str(&text).map_err(wrong)?;
        let task = recorded_task(&settings);
        if let Some(task) = &task {
            settings.insert("task".to_owned(), task.name().into());
        }
        let scenario: Scenario = settings.try_into().map_err(wrong)?;
        let rounds: Vec<RoundLine> = folder.read_lines()?;
        let best = task.and_then(|task| best_of(&task, &rounds));
        Ok(Some(Self {
            scenario,
            state: folder.state()?,
            rounds: rounds.last().map_or(0, |last| last.round),
            best,
            begun: file.modified()?,
            bytes: size(path)?,
        }))
    }
}

/// The name of the task's own score, for people, and its best value; `None` where no round has it.
fn best_of(task: &SharedTask, rounds: &[RoundLine]) -> Option<(String, Option<Best>)> {
    let (name, metrics) = (task.primary_metric().name, task.metric_set());
    let mut best = BTreeMap::new();
    let mut scored = false;
    for round in rounds {
        if let Some(scores) = &round.eval {
            scored |= scores.contains_key(name);
            note_best(&mut best, round.round, scores, &metrics);
        }
    }
    scored.then(|| (metrics.title(name), best.remove(name)))
}

/// Bytes of all files in a folder; one that goes away meanwhile counts for nothing.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += match metadata.is_dir() {
            true => size(&entry.path()).unwrap_or(0),
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_a_score_that_is_better_lower_is_the_least() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(place.path());
        std::fs::write(folder.path_of(Artifact::Scenario), "task = \"e2e\"").unwrap();
        let line = |(round, value)| {
            format!(
                "{{\"round\":{round},\"eval\":{{\"perplexity\":{value},\"base_perplexity\":1}}}}\n"
            )
        };
        let lines: String = [(1, 9.0), (2, 4.0), (3, 6.0)].map(line).concat();
        std::fs::write(folder.path_of(Artifact::Rounds), lines).unwrap();
        let best = RunOverview::of(place.path()).unwrap().unwrap().best;
        let least = Best {
            value: 4.0,
            round: 2,
        };
        assert_eq!(best, Some(("perplexity".to_owned(), Some(least))));
    }
}
