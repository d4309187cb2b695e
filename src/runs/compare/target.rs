//! A score that runs are to reach, and when they do.

use std::fmt;
use std::str::FromStr;

use crate::config::problems::Problems;
use crate::runs::compare::Compared;
use crate::runs::history::totals::is_loss;

/// A value of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The score's name.
    pub score: String,
    /// The value to reach: at least this, and of a loss at most this.
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
    /// The best value that all runs reach, of the task's own score. Runs in which it was never a
    /// finite number do not count, unless there are no others: it is NaN then, and no run reaches
    /// it. `None` when a run has no scores.
    #[must_use]
    pub fn common(runs: &[Compared]) -> Option<Self> {
        let score = runs.first()?.task.primary_metric().name;
        let best: Option<Vec<f64>> = runs.iter().map(|run| run.best_score(score)).collect();
        // The lesser of a number and NaN is the number.
        let value = best?.into_iter().reduce(f64::min)?;
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
        let names: std::collections::BTreeSet<&str> = names.map(String::as_str).collect();
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
        let enough = |value: f64| match is_loss(&self.score) {
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
    use super::*;

    #[test]
    fn a_target_is_a_name_and_a_number() {
        let target: Target = "accuracy = 0.8".parse().unwrap();
        assert_eq!((target.score.as_str(), target.value), ("accuracy", 0.8));
        for wrong in ["accuracy", "=1", "f1=high", "f1=nan"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
