//! A score that runs are to reach, and when they do.

use std::fmt;
use std::str::FromStr;

use crate::config::problems::Problems;
use crate::runs::compare::Compared;
use crate::tasks::metrics::set::base_name;

/// A value of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The score's name.
    pub score: String,
    /// The value to reach: at least this, or at most, where less is better.
    pub value: f64,
}

/// The point at which a run reached a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// The round.
    pub round: u32,
    /// Virtual seconds from the start to that round's end.
    pub virtual_seconds: f64,
}

impl Target {
    /// The best value that all runs reach, of this score or the task's own: the worst of their best.
    /// Runs in which it was never a finite number do not count, unless there are no others: it is NaN
    /// then, and no run reaches it. `None` when a run has no such score.
    #[must_use]
    pub fn common(runs: &[Compared], score: Option<&str>) -> Option<Self> {
        let task = &runs.first()?.task;
        let score = score.unwrap_or_else(|| task.primary_metric().name);
        let best: Option<Vec<f64>> = runs.iter().map(|run| run.best_score(score)).collect();
        // The lesser of a number and NaN is the number, and so is the greater.
        let worse = match task.metric_set().less_is_better(score) {
            true => f64::max,
            false => f64::min,
        };
        let value = best?.into_iter().reduce(worse)?;
        Some(Self {
            score: score.to_owned(),
            value,
        })
    }

    /// Whether any run has such a score.
    ///
    /// # Errors
    /// The names of the scores there are.
    pub fn check(&self, runs: &[Compared]) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let rounds = runs.iter().flat_map(|run| &run.rounds);
        let names = rounds.flat_map(|record| record.eval.iter().flat_map(|eval| eval.keys()));
        let own = names.filter(|name| base_name(name).is_none());
        let names: std::collections::BTreeSet<&str> = own.map(String::as_str).collect();
        if !names.contains(self.score.as_str()) {
            let names: Vec<&str> = names.into_iter().collect();
            problems.report_input(format_args!(
                "--target={self}: no run has the score {}; there are: {}",
                self.score,
                names.join(", ")
            ));
        }
        problems.into_result(())
    }

    /// The point at which a run first reached it, if it did.
    #[must_use]
    pub fn reached(&self, run: &Compared) -> Option<Reached> {
        let enough = |value: f64| match run.task.metric_set().less_is_better(&self.score) {
            true => value <= self.value,
            false => value >= self.value,
        };
        let mut scores = run.scores(&self.score);
        let (record, _) = scores.find(|(_, value)| enough(*value))?;
        Some(Reached {
            round: record.round,
            virtual_seconds: record.virtual_seconds,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.score, self.value)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let right = "give a score and a value, such as accuracy=0.8";
        let (score, value) = text.split_once('=').ok_or(right)?;
        let value: f64 = value.trim().parse().map_err(|_| right)?;
        if !value.is_finite() || score.trim().is_empty() {
            return Err(right.to_owned());
        }
        Ok(Self {
            score: score.trim().to_owned(),
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use regatta_actors::ids::Digest;
    use regatta_actors::protocol::round_record::{PhaseSeconds, RoundRecord};

    use super::*;
    use crate::runs::folder::state::RunState;
    use crate::runs::history::totals::RunTotals;
    use crate::tasks::registry;

    /// A run of E2E with this perplexity by round.
    fn run(perplexity: &[f64]) -> Compared {
        let task = registry::find("e2e").unwrap();
        let record = |(round, value): (u32, &f64)| RoundRecord {
            round,
            train_loss: None,
            eval: Some(
                [
                    ("perplexity".into(), *value),
                    ("base_perplexity".into(), 99.0),
                ]
                .into(),
            ),
            exactness_error: None,
            measures: [].into(),
            virtual_seconds: 10.0 * f64::from(round),
            seconds: PhaseSeconds::default(),
            state_digest: Digest(String::new()),
            refused: Vec::new(),
            clients: Vec::new(),
        };
        let rounds: Vec<RoundRecord> = (1..).zip(perplexity).map(record).collect();
        let mut totals = RunTotals::default();
        rounds
            .iter()
            .for_each(|record| totals.add(record, &task.metric_set()));
        Compared {
            path: PathBuf::new(),
            settings: toml::Table::new(),
            seed: 0,
            task,
            state: RunState::Complete,
            rounds,
            totals,
        }
    }

    #[test]
    fn of_a_score_that_is_better_lower_all_runs_reach_the_greatest_of_their_least() {
        let runs = [run(&[9.0, 4.0, 6.0]), run(&[8.0, 7.0, 5.0])];
        let target = Target::common(&runs, None).unwrap();
        assert_eq!(target.to_string(), "perplexity=5");
        let reached = runs
            .each_ref()
            .map(|run| target.reached(run).unwrap().round);
        assert_eq!(reached, [2, 3]);
        let far: Target = "perplexity=3.9".parse().unwrap();
        assert!(far.check(&runs).is_ok() && far.reached(&runs[0]).is_none());
    }

    #[test]
    fn the_score_of_the_base_is_none_that_a_run_reaches() {
        let base: Target = "base_perplexity=1".parse().unwrap();
        let wrong = base.check(&[run(&[1.0])]).unwrap_err().to_string();
        assert!(wrong.contains("there are: perplexity"), "{wrong}");
    }

    #[test]
    fn a_target_is_a_name_and_a_number() {
        let target: Target = "accuracy = 0.8".parse().unwrap();
        assert_eq!((target.score.as_str(), target.value), ("accuracy", 0.8));
        for wrong in ["accuracy", "=1", "f1=high", "f1=nan"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
