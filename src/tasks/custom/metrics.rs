//! The metrics of each kind of task, and those that a user chooses.

use crate::model::objective::Objective;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::texts;

const ACCURACY: MetricInfo = MetricInfo::higher("accuracy");
const MACRO_F1: MetricInfo = MetricInfo::higher("macro_f1").titled("macro F1");
const F1: MetricInfo = MetricInfo::higher("f1").titled("F1");

/// Metrics of classes. F1 is that of the second of two.
const OF_CLASSES: [MetricInfo; 5] = [
    ACCURACY,
    MACRO_F1,
    MetricInfo::higher("matthews"),
    MetricInfo::higher("balanced_accuracy"),
    F1,
];

const OF_SETS: [MetricInfo; 3] = [
    MetricInfo::higher("micro_f1").titled("micro F1"),
    MACRO_F1,
    MetricInfo::higher("subset_accuracy"),
];

const OF_SCORES: [MetricInfo; 4] = [
    MetricInfo::lower("mse").titled("MSE"),
    MetricInfo::lower("mae").titled("MAE"),
    MetricInfo::higher("pearson"),
    MetricInfo::higher("spearman"),
];

/// Other names of metrics.
const ALIASES: [(&str, &str); 2] = [("mcc", "matthews"), ("rouge-l", "rouge_l")];

/// The metrics of a task where none are named: the first decides the best round.
#[must_use]
pub fn default(objective: &Objective) -> Vec<MetricInfo> {
    match objective {
        Objective::Classes(_) => vec![ACCURACY, MACRO_F1],
        Objective::Multilabel(_) => OF_SETS.to_vec(),
        Objective::Score => OF_SCORES.to_vec(),
        Objective::NextToken => texts::METRICS.to_vec(),
    }
}

/// The metrics of these names. All that texts have are scored anyway, the named ones first.
///
/// # Errors
/// If one is unknown, named twice, or has no meaning for the task: with those that do.
pub fn chosen(objective: &Objective, names: &[String]) -> Result<Vec<MetricInfo>, String> {
    let known = known(objective);
    let mut chosen: Vec<MetricInfo> = Vec::new();
    for name in names {
        let alias = ALIASES.iter().find(|(alias, _)| alias == name);
        let first = alias.map_or(name.as_str(), |(_, first)| first);
        let Some(metric) = known.iter().find(|metric| metric.name == first) else {
            let known: Vec<&str> = known.iter().map(|metric| metric.name).collect();
            return Err(format!(
                "unknown metric `{name}`; for such a task there are {}",
                known.join(", ")
            ));
        };
        if chosen.contains(metric) {
            return Err(format!("`{name}` is there twice; name it once"));
        }
        chosen.push(*metric);
    }
    if chosen.is_empty() {
        return Err("no metric; name one, or omit it".to_owned());
    }
    if *objective == Objective::NextToken {
        let others = known.iter().filter(|metric| !chosen.contains(metric));
        let others: Vec<MetricInfo> = others.copied().collect();
        chosen.extend(others);
    }
    Ok(chosen)
}

fn known(objective: &Objective) -> Vec<MetricInfo> {
    match objective {
        Objective::Classes(names) if names.len() == 2 => OF_CLASSES.to_vec(),
        Objective::Classes(_) => OF_CLASSES.into_iter().filter(|it| *it != F1).collect(),
        Objective::Multilabel(_) => OF_SETS.to_vec(),
        Objective::Score => OF_SCORES.to_vec(),
        Objective::NextToken => texts::METRICS.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(objective: &Objective, chosen: &[&str]) -> Result<Vec<&'static str>, String> {
        let chosen: Vec<String> = chosen.iter().map(|it| (*it).to_owned()).collect();
        super::chosen(objective, &chosen).map(|it| it.into_iter().map(|it| it.name).collect())
    }

    #[test]
    fn metrics_are_those_that_are_named_in_their_order() {
        let classes = Objective::classes(2);
        assert_eq!(names(&classes, &["mcc", "f1"]).unwrap(), ["matthews", "f1"]);
        let texts = names(&Objective::NextToken, &["rouge_l"]).unwrap();
        assert_eq!((texts[0], texts.len()), ("rouge_l", texts::METRICS.len()));
    }

    #[test]
    fn a_metric_without_meaning_is_refused_with_those_that_have_one() {
        for (objective, chosen, reason) in [
            (Objective::classes(3), &["f1"][..], "macro_f1"),
            (Objective::Score, &["accuracy"], "mse, mae"),
            (Objective::classes(2), &["accuracy", "accuracy"], "twice"),
            (Objective::classes(2), &[], "no metric"),
        ] {
            let error = names(&objective, chosen).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
