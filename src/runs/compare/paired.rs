//! Runs in pairs that agree in everything but the settings to compare by: the same partition, the
//! same examples, the same seed, another method.
//!
//! Chance that both runs of a pair share, through their seed, cancels in their difference, so
//! differences say more than means with their deviations. Runs without a counterpart are listed with
//! the reason.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::aggregate::methods;
use crate::config::problems::Problems;
use crate::config::scenario::did_you_mean;
use crate::config::setting::flag_value;
use crate::config::settings::Settings;
use crate::runs::compare::Compared;
use crate::runs::compare::groups::{Group, brief_labels, essence, labels};

/// How runs are paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// The settings in which the runs of a pair may differ. The first is what is compared.
    pub by: Vec<String>,
    /// The value of the first setting that the others are compared with; `None`: FedIT if methods
    /// are compared and it is among them, else the value of the first run.
    pub reference: Option<String>,
    /// The score whose differences are taken.
    pub score: String,
}

/// The setting that is compared unless another is named.
pub const METHOD: &str = "agg_type";

/// The differences of one group of runs to its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Differences {
    /// What the two agree in and other pairs of groups do not; empty where all agree.
    pub agree_in: String,
    /// The group.
    pub label: String,
    /// The reference.
    pub reference: String,
    /// A difference for each seed: the score less that of the reference.
    pub by_seed: BTreeMap<u64, f64>,
}

/// A run that is in no pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaired {
    /// The run's folder.
    pub run: String,
    /// Why.
    pub reason: String,
}

/// All pairs, and what is in none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Paired {
    /// The differences, in the order in which groups were named.
    pub differences: Vec<Differences>,
    /// The runs that are in no pair.
    pub unpaired: Vec<Unpaired>,
}

/// Groups that agree in all settings but those of the pairing.
struct MatchedGroups<'a> {
    /// The settings that they agree in, without those that have their defaults.
    key: Table,
    /// The same settings, as the first of them states them.
    settings: Table,
    members: Vec<&'a Group<'a>>,
}

impl Pairing {
    /// The pairing by these settings; by the method if there are none.
    ///
    /// # Errors
    /// Settings or a reference that no run has.
    pub fn new(
        by: &[String],
        reference: Option<&str>,
        score: &str,
        groups: &[Group<'_>],
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        // Scenario files have the first name of a setting that has several.
        let first_name = |name: &String| {
            let known = Settings::find(name);
            known.map_or_else(|| name.clone(), |known| known.facts().key.to_owned())
        };
        let mut by: Vec<String> = by.iter().map(first_name).collect();
        let tables = groups
            .iter()
            .flat_map(|group| settings_of(group).into_iter());
        let known: BTreeSet<String> = tables.map(|(key, _)| key).collect();
        for setting in by.iter().filter(|setting| !known.contains(*setting)) {
            let hint = did_you_mean(setting, known.iter().cloned().collect());
            let hint = hint.map_or_else(
                || "name settings as scenario files have them".to_owned(),
                |hint| format!("did you mean `{hint}`?"),
            );
            problems.report_input(format_args!(
                "--paired={setting}: no run has such a setting; {hint}"
            ));
        }
        if by.is_empty() {
            by.push(METHOD.to_owned());
        }
        let pairing = Self {
            reference: reference.map(|name| canonical(&by[0], name)),
            by,
            score: score.to_owned(),
        };
        let values: BTreeSet<String> = groups.iter().map(|group| pairing.value_of(group)).collect();
        if let Some(reference) = pairing.reference.as_ref()
            && !values.contains(reference)
        {
            let values: Vec<String> = values.into_iter().collect();
            problems.report_input(format_args!(
                "--reference={reference}: no run has this for {}; there are: {}",
                pairing.by[0],
                values.join(", ")
            ));
        }
        problems.into_result(pairing)
    }

    /// Pairs the runs of groups.
    #[must_use]
    pub fn pair(&self, groups: &[Group<'_>]) -> Paired {
        let wanted = self.reference.clone();
        let wanted = wanted.or_else(|| self.usual_reference(groups));
        let mut paired = Paired::default();
        let blocks = self.blocks(groups);
        let settings: Vec<&Table> = blocks.iter().map(|block| &block.settings).collect();
        for (block, agree_in) in blocks.iter().zip(brief_labels(&settings)) {
            self.within(&block.members, &agree_in, wanted.as_deref(), &mut paired);
        }
        paired
    }

    /// The groups that agree in all other settings.
    fn blocks<'a>(&self, groups: &'a [Group<'a>]) -> Vec<MatchedGroups<'a>> {
        let mut blocks: Vec<MatchedGroups<'_>> = Vec::new();
        for group in groups {
            let mut settings = settings_of(group);
            self.by
                .iter()
                .for_each(|setting| drop(settings.remove(setting)));
            let key = without_defaults(settings.clone());
            match blocks.iter_mut().find(|block| block.key == key) {
                Some(block) => block.members.push(group),
                None => blocks.push(MatchedGroups {
                    key,
                    settings,
                    members: vec![group],
                }),
            }
        }
        blocks
    }

    fn usual_reference(&self, groups: &[Group<'_>]) -> Option<String> {
        let fedit = "fedit".to_owned();
        let values: Vec<String> = groups.iter().map(|group| self.value_of(group)).collect();
        match self.compares_methods() && values.contains(&fedit) {
            true => Some(fedit),
            false => values.into_iter().next(),
        }
    }

    fn compares_methods(&self) -> bool {
        self.by.first().is_some_and(|first| first == METHOD)
    }

    /// The value of the setting that is compared; its default where the run does not state it.
    fn value_of(&self, group: &Group<'_>) -> String {
        let first = self.by.first().map_or(METHOD, String::as_str);
        let value = settings_of(group).remove(first);
        let default = || Settings::default_text_of(first).unwrap_or_default();
        value.as_ref().map_or_else(default, flag_value)
    }

    /// Pairs groups that agree in all other settings with those of them that have the reference.
    fn within(
        &self,
        members: &[&Group<'_>],
        agree_in: &str,
        wanted: Option<&str>,
        paired: &mut Paired,
    ) {
        let is_reference = |group: &&&Group<'_>| Some(self.value_of(group).as_str()) == wanted;
        let references: Vec<_> = members.iter().filter(is_reference).collect();
        let first = self.by.first().map_or(METHOD, String::as_str);
        let wanted = wanted.unwrap_or_default();
        let [reference] = references.as_slice() else {
            let reason = match references.len() {
                0 => format!("no run with {first} {wanted} agrees with it in all other settings"),
                several => format!(
                    "{several} groups with {first} {wanted} agree with it in all settings but {}; \
                     name runs of one of them",
                    self.by.join(" and ")
                ),
            };
            for run in members.iter().flat_map(|group| &group.runs) {
                paired.leave_out(run, reason.clone());
            }
            return;
        };
        let keys: Vec<Table> = members.iter().map(|group| settings_of(group)).collect();
        let names = labels(&keys.iter().collect::<Vec<_>>());
        let is_counterpart = |group: &Group<'_>| std::ptr::eq(group, **reference);
        let named = members.iter().zip(&names);
        let mut of_reference = named.clone().filter(|(group, _)| is_counterpart(group));
        let reference_name = of_reference.next().map_or("", |(_, name)| name.as_str());
        let counterparts = self.by_seed(reference, paired);
        let mut used = BTreeSet::new();
        for (group, name) in named.filter(|(group, _)| !is_counterpart(group)) {
            let runs = self.by_seed(group, paired);
            let by_seed = self.differences(runs, reference_name, &counterparts, paired);
            used.extend(by_seed.keys().copied());
            paired.differences.push(Differences {
                agree_in: agree_in.to_owned(),
                label: name.clone(),
                reference: reference_name.to_owned(),
                by_seed,
            });
        }
        for (seed, run) in counterparts.iter().filter(|(seed, _)| !used.contains(seed)) {
            let reason = format!("no other run of seed {seed} is paired with it");
            paired.leave_out(run, reason);
        }
    }

    /// The differences of runs to those of the same seed.
    fn differences(
        &self,
        runs: BTreeMap<u64, &Compared>,
        reference: &str,
        counterparts: &BTreeMap<u64, &Compared>,
        paired: &mut Paired,
    ) -> BTreeMap<u64, f64> {
        let mut differences = BTreeMap::new();
        for (seed, run) in runs {
            let difference = match counterparts.get(&seed) {
                Some(counterpart) => self.difference(run, counterpart),
                None => Err(format!(
                    "{reference} has no run of seed {seed} to pair it with"
                )),
            };
            match difference {
                Ok(difference) => drop(differences.insert(seed, difference)),
                Err(reason) => paired.leave_out(run, reason),
            }
        }
        differences
    }

    /// The runs of a group by seed; a second one of a seed is left out.
    fn by_seed<'a>(&self, group: &Group<'a>, paired: &mut Paired) -> BTreeMap<u64, &'a Compared> {
        let mut runs: BTreeMap<u64, &Compared> = BTreeMap::new();
        for run in &group.runs {
            match runs.get(&run.seed) {
                Some(first) => {
                    let first = first.path.display();
                    let reason = format!("{first} is a run of the same settings and seed");
                    paired.leave_out(run, reason);
                }
                None => drop(runs.insert(run.seed, run)),
            }
        }
        runs
    }

    /// The difference of a pair's last scores.
    fn difference(&self, run: &Compared, counterpart: &Compared) -> Result<f64, String> {
        let last = |run: &Compared| {
            let (record, score) = run.scores(&self.score).last()?;
            Some((record.round, score))
        };
        let other = counterpart.path.display();
        let Some((round, score)) = last(run) else {
            return Err(format!("it has no {}", self.score));
        };
        let Some((other_round, other_score)) = last(counterpart) else {
            return Err(format!("{other} has no {}", self.score));
        };
        if round != other_round {
            return Err(format!(
                "it was last scored in round {round}, and {other} in round {other_round}"
            ));
        }
        let difference = score - other_score;
        match difference.is_finite() {
            true => Ok(difference),
            false if other_score.is_finite() => Err("its score is not a number".to_owned()),
            false => Err(format!("the score of {other} is not a number")),
        }
    }
}

impl Paired {
    fn leave_out(&mut self, run: &Compared, reason: String) {
        let run = run.path.display().to_string();
        let unpaired = Unpaired { run, reason };
        if !self.unpaired.contains(&unpaired) {
            self.unpaired.push(unpaired);
        }
    }
}

/// A value of a setting as runs state it: of the method, the name that it has today.
pub(crate) fn canonical(setting: &str, value: &str) -> String {
    let method = methods::find(value).filter(|_| setting == METHOD);
    method.map_or(value, |info| info.name).to_owned()
}

/// The settings that all runs of a group have.
pub(crate) fn settings_of(group: &Group<'_>) -> Table {
    let first = group.runs.first();
    first.map_or_else(Table::new, |run| essence(&run.settings))
}

/// Settings without those that have their defaults: a run does not state what has no meaning with
/// its method, nor what its version did not have.
pub(crate) fn without_defaults(mut settings: Table) -> Table {
    settings.retain(|key, value: &mut Value| {
        Settings::default_text_of(key).is_none_or(|default| flag_value(value) != default)
    });
    settings
}
