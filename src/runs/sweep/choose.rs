//! A choice within a sweep: the best value of a setting for each method and partition (whatever else
//! the grid varies) is found by trials on separate seeds, and then run on the grid's seeds.
//!
//! ```toml
//! [grid]
//! agg_type = ["fedit", "fedex"]
//! lr = [1e-3, 3e-3, 1e-2]
//! seed = [1, 2, 3, 4, 5]
//!
//! [choose]
//! setting = "lr"
//! seed = [101, 102]         # the trials' seeds, none of the grid's
//! score = "accuracy"        # default: the task's own
//! ```
//!
//! A choice is not recorded: whenever the sweep is started, it follows from the trials.

use toml::{Table, Value};

use crate::base::table::{Cell, Table as TextTable, show_score};
use crate::config::setting::flag_value;
use crate::runs::compare::Compared;
use crate::runs::compare::groups::{Mean, brief_labels};
use crate::runs::sweep::planned::Planned;

/// What a sweep file says of a choice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choose {
    /// The setting of which one value is chosen.
    pub setting: String,
    /// The trials' seeds.
    pub seeds: Vec<Value>,
    /// The score by which values are compared; `None`: the task's own.
    pub score: Option<String>,
}

/// The name of the seed's setting.
const SEED: &str = "seed";

/// Combinations that differ in the chosen setting and the seed alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueChoice {
    /// What tells it from the other choices.
    pub label: String,
    /// The values to choose from, in the grid's order.
    pub candidates: Vec<CandidateValue>,
}

/// A value that may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateValue {
    /// The value.
    pub value: Value,
    /// The settings that each of its trials varies.
    pub trials: Vec<Table>,
    /// The same of the runs that are carried out if it is chosen.
    pub runs: Vec<Table>,
}

impl Choose {
    /// The choices that a grid's combinations leave open.
    ///
    /// # Errors
    /// A combination that does not vary the setting or the seed, or a seed that both the trials and the
    /// grid have. What is wrong, in words.
    pub fn choices(&self, combinations: &[Table]) -> Result<Vec<ValueChoice>, String> {
        let setting = &self.setting;
        let mut open: Vec<(Table, Vec<CandidateValue>)> = Vec::new();
        for combination in combinations {
            let mut shared = combination.clone();
            let (Some(value), Some(seed)) = (shared.remove(setting), shared.remove(SEED)) else {
                return Err(format!(
                    "each combination of the grid needs the setting `{setting}` and a seed"
                ));
            };
            if self.seeds.contains(&seed) {
                return Err(format!(
                    "seed {seed} is one of the grid's too, and would decide which value it is used \
                     to judge; give the trials other seeds"
                ));
            }
            let candidates = match open.iter_mut().find(|(other, _)| *other == shared) {
                Some((_, candidates)) => candidates,
                None => {
                    open.push((shared, Vec::new()));
                    match open.last_mut() {
                        Some((_, candidates)) => candidates,
                        None => continue,
                    }
                }
            };
            match candidates.iter_mut().find(|one| one.value == value) {
                Some(candidate) => candidate.runs.push(combination.clone()),
                None => candidates.push(CandidateValue {
                    trials: self.trials(combination),
                    runs: vec![combination.clone()],
                    value,
                }),
            }
        }
        let shared: Vec<&Table> = open.iter().map(|(shared, _)| shared).collect();
        let (labels, is_only) = (brief_labels(&shared), shared.len() == 1);
        let choices = open.into_iter().zip(labels);
        Ok(choices
            .map(|((_, candidates), label)| ValueChoice {
                label: if is_only { "all runs".into() } else { label },
                candidates,
            })
            .collect())
    }

    /// A combination with the trials' seeds.
    fn trials(&self, combination: &Table) -> Vec<Table> {
        let with = |seed: &Value| {
            let mut trial = combination.clone();
            trial.insert(SEED.to_owned(), seed.clone());
            trial
        };
        self.seeds.iter().map(with).collect()
    }
}

/// A choice of a sweep that is planned: its candidates' trials and runs.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedChoice {
    /// What tells it from the other choices.
    pub label: String,
    /// The values to choose from.
    pub candidates: Vec<PlannedCandidate>,
}

/// A value that may be chosen, with the runs that decide and those that it decides.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCandidate {
    /// The value.
    pub value: Value,
    /// Its trials.
    pub trials: Vec<Planned>,
    /// The runs that are carried out if it is chosen.
    pub runs: Vec<Planned>,
}

/// A choice that was made.
#[derive(Debug, Clone)]
pub struct Chosen<'a> {
    /// The choice.
    pub choice: &'a PlannedChoice,
    /// The index of the candidate whose trials have the best mean of their last scores; the first of
    /// equal ones.
    pub best: usize,
    /// The means, by candidate; `None` if the score of any of its trials is not a number.
    pub means: Vec<Option<f64>>,
}

impl PlannedChoice {
    /// Chooses, by the trials, which are complete.
    ///
    /// # Errors
    /// A trial that cannot be read or has no such score, or scores that are not numbers for any
    /// candidate.
    pub fn make(&self, score: Option<&str>) -> Result<Chosen<'_>, String> {
        let mut means = Vec::new();
        let mut less_is_better = false;
        for candidate in &self.candidates {
            let mut scores = Vec::new();
            for trial in &candidate.trials {
                let run = Compared::read(&trial.folder)?;
                let score = score.unwrap_or_else(|| run.task.primary_metric().name);
                less_is_better = run.task.metric_set().less_is_better(score);
                let place = trial.folder.display();
                scores.push(
                    run.last_score(score)
                        .ok_or_else(|| format!("{place}: the run has no {score}"))?,
                );
            }
            let mean = Mean::of(&scores).map(|mean| mean.mean);
            means.push(mean.filter(|mean| mean.is_finite()));
        }
        let better = |one: f64, than: f64| match less_is_better {
            true => one < than,
            false => one > than,
        };
        let numbered = means.iter().enumerate();
        let numbers = numbered.filter_map(|(index, mean)| Some((index, (*mean)?)));
        let best = numbers.reduce(|best, other| match better(other.1, best.1) {
            true => other,
            false => best,
        });
        let (best, _) = best.ok_or("no value has a score that is a number in all its trials")?;
        Ok(Chosen {
            choice: self,
            best,
            means,
        })
    }
}

impl<'a> Chosen<'a> {
    /// The runs of the chosen value.
    #[must_use]
    pub fn runs(&self) -> &'a [Planned] {
        &self.choice.candidates[self.best].runs
    }

    /// Whether the value is the first or the last of several that were tried, so that a better one
    /// may lie beyond it.
    fn is_at_the_end(&self) -> bool {
        let last = self.choice.candidates.len() - 1;
        last > 0 && (self.best == 0 || self.best == last)
    }
}

/// The choices: what was chosen, and what all values reached.
#[must_use]
pub fn table(chosen: &[Chosen<'_>], setting: &str) -> TextTable {
    let mut table = TextTable::new("choices", &[("of", "of")]);
    table.add_column("chosen", setting);
    table.add_column("tried", "trials' mean by value");
    table.add_column("at_the_end", "at the end of those tried");
    for one in chosen {
        let value = |candidate: &PlannedCandidate| flag_value(&candidate.value);
        let tried = one.choice.candidates.iter().zip(&one.means);
        let tried = tried.map(|(candidate, mean)| {
            let mean = mean.map_or_else(|| "NaN".to_owned(), show_score);
            format!("{}: {mean}", value(candidate))
        });
        let at_the_end = one.is_at_the_end();
        table.add_row([
            one.choice.label.as_str().into(),
            value(&one.choice.candidates[one.best]).into(),
            tried.collect::<Vec<_>>().join(", ").into(),
            Cell::new(at_the_end, if at_the_end { "yes" } else { "·" }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(texts: &[&str]) -> Vec<Table> {
        texts
            .iter()
            .map(|text| toml::from_str(text).unwrap())
            .collect()
    }

    fn choose() -> Choose {
        Choose {
            setting: "lr".into(),
            seeds: vec![Value::Integer(8), Value::Integer(9)],
            score: None,
        }
    }

    #[test]
    fn a_choice_is_among_what_differs_in_the_setting_and_the_seed_alone() {
        let combinations = tables(&[
            "agg_type = \"fedex\"\nlr = 0.1\nseed = 1",
            "agg_type = \"fedex\"\nlr = 0.1\nseed = 2",
            "agg_type = \"fedex\"\nlr = 0.2\nseed = 1",
            "agg_type = \"ffa\"\nlr = 0.4\nseed = 1",
        ]);
        let choices = choose().choices(&combinations).unwrap();
        let labels: Vec<&str> = choices.iter().map(|choice| choice.label.as_str()).collect();
        assert_eq!(labels, ["fedex", "ffa"]);
        let [low, high] = &choices[0].candidates[..] else {
            panic!("{choices:?}");
        };
        assert_eq!((&low.value, &high.value), (&0.1.into(), &0.2.into()));
        assert_eq!(low.runs, combinations[..2]);
        let alone = choose().choices(&combinations[..3]).unwrap();
        assert_eq!(alone[0].label, "all runs");
        let trials = tables(&[
            "agg_type = \"fedex\"\nlr = 0.2\nseed = 8",
            "agg_type = \"fedex\"\nlr = 0.2\nseed = 9",
        ]);
        assert_eq!(high.trials, trials);
    }

    #[test]
    fn seeds_of_trials_are_none_of_the_grids_and_every_combination_has_both() {
        let shared = choose().choices(&tables(&["lr = 0.1\nseed = 8"]));
        assert!(
            shared
                .unwrap_err()
                .starts_with("seed 8 is one of the grid's too")
        );
        for without in ["lr = 0.1", "seed = 1"] {
            let wrong = choose().choices(&tables(&[without])).unwrap_err();
            assert!(
                wrong.contains("needs the setting `lr` and a seed"),
                "{wrong}"
            );
        }
    }
}
