//! Which runs differ in nothing but their seed, and what tells the others apart.

use toml::{Table, Value};

use crate::aggregate::methods;
use crate::config::fingerprint;
use crate::runs::compare::Compared;
use crate::tasks::metrics::set::MetricSet;

/// Settings that tell runs apart and change nothing but chance.
const CHANCE: [&str; 2] = ["name", "seed"];

/// Runs that differ in nothing but their seed.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// The settings that distinguish it from the other groups.
    pub label: String,
    /// Its runs, in order of their seeds.
    pub runs: Vec<&'a Compared>,
}

/// A mean and how far the values spread around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; `None` of a single value.
    pub deviation: Option<f64>,
}

impl Mean {
    /// Of these values; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let deviation = (squares.sum::<f64>() / (count - 1.0)).sqrt();
        (!values.is_empty()).then_some(Self {
            mean,
            deviation: (values.len() > 1).then_some(deviation),
        })
    }
}

/// The metrics of the runs, which are all of one task.
#[must_use]
pub fn metrics(groups: &[Group<'_>]) -> MetricSet {
    let run = groups.iter().flat_map(|group| &group.runs).next();
    run.map(|run| run.task.metric_set()).unwrap_or_default()
}

/// Groups runs, in the order in which the first run of each was named.
#[must_use]
pub fn group(runs: &[Compared]) -> Vec<Group<'_>> {
    let mut keyed: Vec<(Table, Vec<&Compared>)> = Vec::new();
    for run in runs {
        let key = essence(&run.settings);
        match keyed.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(run),
            None => keyed.push((key, vec![run])),
        }
    }
    let labels = labels(&keyed.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let groups = keyed.into_iter().zip(labels).map(|((_, mut runs), label)| {
        runs.sort_by_key(|run| run.seed);
        Group { label, runs }
    });
    groups.collect()
}

/// Settings without those that change no result, the method by the name that it has today.
pub(crate) fn essence(settings: &Table) -> Table {
    let free = fingerprint::free();
    let relevant =
        |(key, _): &(String, Value)| !free.contains(key) && !CHANCE.contains(&key.as_str());
    let mut essence: Table = settings.clone().into_iter().filter(relevant).collect();
    if let Some(method) = essence.get_mut("agg_type")
        && let Some(info) = method.as_str().and_then(methods::find)
    {
        *method = info.name.into();
    }
    essence
}

/// For each group, the settings in which it differs from others with its adapter, beside that and the
/// method; the method alone where there is one group.
pub(crate) fn labels(groups: &[&Table]) -> Vec<String> {
    let mut keys = differing(groups);
    // What all runs with an adapter have says no more than its name.
    keys.retain(|key| {
        let varies = |group: &&Table| {
            let alike = |other: &&&Table| other.get("adapter") == group.get("adapter");
            let mut others = groups.iter().filter(alike);
            others.any(|other| other.get(*key) != group.get(*key))
        };
        ["agg_type", "adapter"].contains(&key.as_str()) || groups.iter().any(varies)
    });
    let label = |group: &&Table| {
        let label = described(&keys, group, groups);
        if label.is_empty() {
            let method = group.get("agg_type").and_then(Value::as_str);
            return method.unwrap_or("all runs").to_owned();
        }
        label
    };
    groups.iter().map(label).collect()
}

/// For each group, as few settings as tell it from the others; nothing where there is one group.
pub(crate) fn brief_labels(groups: &[&Table]) -> Vec<String> {
    let mut keys: Vec<&String> = Vec::new();
    let told_apart = |keys: &[&String]| {
        let mut seen: Vec<Vec<Option<&Value>>> = Vec::new();
        for group in groups {
            let values = keys.iter().map(|key| group.get(*key)).collect();
            if !seen.contains(&values) {
                seen.push(values);
            }
        }
        seen.len()
    };
    for key in differing(groups) {
        let before = told_apart(&keys);
        keys.push(key);
        if told_apart(&keys) == before {
            keys.pop();
        }
    }
    let label = |group: &&Table| described(&keys, group, groups);
    groups.iter().map(label).collect()
}

/// The settings in which groups differ. The method and the adapter are first: they say most.
fn differing<'a>(groups: &[&'a Table]) -> Vec<&'a String> {
    let mut keys: Vec<&String> = groups.iter().flat_map(|group| group.keys()).collect();
    keys.sort_by_key(|key| (*key != "agg_type", *key != "adapter", *key));
    keys.dedup();
    keys.retain(|key| {
        groups
            .iter()
            .any(|group| group.get(*key) != groups[0].get(*key))
    });
    keys
}

/// These settings of a group, in words.
fn described(keys: &[&String], group: &Table, groups: &[&Table]) -> String {
    let parts = keys.iter();
    let parts = parts.filter_map(|key| describe(key, group.get(*key), groups));
    parts.collect::<Vec<_>>().join(", ")
}

/// A setting in a label; `None` where the group does not have it.
fn describe(key: &str, value: Option<&Value>, groups: &[&Table]) -> Option<String> {
    Some(match value? {
        Value::String(text) if ["agg_type", "adapter"].contains(&key) => text.clone(),
        Value::String(text) => format!("{key} {text}"),
        Value::Boolean(true) => key.to_owned(),
        value @ (Value::Table(_) | Value::Array(_)) => {
            let mut seen: Vec<&Value> = groups.iter().filter_map(|group| group.get(key)).collect();
            seen.dedup();
            let number = seen.iter().position(|other| *other == value).unwrap_or(0);
            format!("{key} #{}", number + 1)
        }
        value => format!("{key} {value}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(settings: &[&str]) -> Vec<String> {
        let tables = settings
            .iter()
            .map(|text| essence(&toml::from_str(text).unwrap()));
        let tables: Vec<Table> = tables.collect();
        labels(&tables.iter().collect::<Vec<_>>())
    }

    #[test]
    fn labels_say_what_differs_and_nothing_else() {
        let labels = labelled(&[
            "agg_type = \"ours\"\nr = 8\nlr = 0.01\nname = \"a\"",
            "agg_type = \"ffa\"\nr = 4\nlr = 0.01\nname = \"b\"\n[policy]\nkind = \"deadline\"",
        ]);
        assert_eq!(labels, ["fedex, r 8", "ffa, policy #1, r 4"]);
        let labels = labelled(&[
            "agg_type = \"fedit\"\nadapter = \"lora\"\nr = 8\nlr = 0.01",
            "agg_type = \"fedit\"\nadapter = \"lora\"\nr = 8\nlr = 0.03",
            "agg_type = \"fedit\"\nadapter = \"vera\"\nr = 32\nlr = 0.01\nd_initial = 1.0",
        ]);
        assert_eq!(labels, ["lora, lr 0.01", "lora, lr 0.03", "vera, lr 0.01"]);
        for name in ["ours", "fedex"] {
            let settings = format!("agg_type = \"{name}\"\nseed = 1");
            assert_eq!(labelled(&[&settings]), ["fedex"]);
        }
    }

    #[test]
    fn brief_labels_name_no_setting_that_follows_from_those_before_it() {
        let tables = [
            "adapter = \"lora\"\nr = 8\npartition = \"iid\"",
            "adapter = \"vera\"\nr = 32\npartition = \"iid\"",
            "adapter = \"vera\"\nr = 32\npartition = \"classes(1)\"",
        ];
        let tables = tables.map(|text| toml::from_str::<Table>(text).unwrap());
        let labels = brief_labels(&tables.each_ref());
        assert_eq!(
            labels,
            [
                "lora, partition iid",
                "vera, partition iid",
                "vera, partition classes(1)"
            ]
        );
        assert_eq!(brief_labels(&[&tables[0]]), [""]);
    }

    #[test]
    fn the_deviation_is_the_samples() {
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(mean.mean, 2.5);
        assert!((mean.deviation.unwrap() - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[7.0]).unwrap().deviation, None);
        assert_eq!(Mean::of(&[]), None);
    }
}
