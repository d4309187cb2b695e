//! Groups of examples by label: what `regatta data` counts, and what a partition by label divides.

use crate::data::split::Split;
use crate::model::objective::Objective;
use crate::tasks::Task;

/// Ranges that scores are divided into where nothing else is known of them.
const RANGES: usize = 5;
/// The most whole numbers that scores are divided by.
const MOST_WHOLE: i64 = 20;

/// The groups of a task's examples.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelGroups {
    names: Vec<String>,
    rule: GroupRule,
}

/// Which group an example is in.
#[derive(Debug, Clone, PartialEq)]
enum GroupRule {
    /// The one of its class.
    Class,
    /// That of its score's nearest whole number, counted from this one.
    Whole(i64),
    /// The first range whose upper bound its score is not above; the last range has no bound.
    Range(Vec<f32>),
    /// Those of its labels. A partition goes by the first of them, and has a group of its own for
    /// examples without any.
    Labels,
    /// Answers have no groups.
    None,
}

impl LabelGroups {
    /// The groups of a task. Scores whose whole numbers are not known beforehand are grouped by
    /// those of the training examples if there are more than two and at most twenty; else into five
    /// ranges with about as many training examples each.
    #[must_use]
    pub fn of(task: &dyn Task, train: &Split) -> Self {
        match task.objective() {
            Objective::Classes(names) => Self {
                names,
                rule: GroupRule::Class,
            },
            Objective::Multilabel(names) => Self {
                names,
                rule: GroupRule::Labels,
            },
            Objective::Score => match task.whole_scores() {
                Some(numbers) => Self::whole(*numbers.start(), *numbers.end()),
                None => Self::of_scores(train.labels()),
            },
            Objective::NextToken => Self {
                names: Vec::new(),
                rule: GroupRule::None,
            },
        }
    }

    fn whole(first: i64, last: i64) -> Self {
        Self {
            names: (first..=last).map(|number| number.to_string()).collect(),
            rule: GroupRule::Whole(first),
        }
    }

    fn of_scores(scores: &[f32]) -> Self {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|it| !it.is_nan()).collect();
        sorted.sort_by(f32::total_cmp);
        let (Some(least), Some(most)) = (sorted.first().copied(), sorted.last().copied()) else {
            return Self::whole(0, 0);
        };
        let (first, last) = (least.round() as i64, most.round() as i64);
        if (2..MOST_WHOLE).contains(&last.saturating_sub(first)) {
            return Self::whole(first, last);
        }
        let mut bounds: Vec<f32> = (1..RANGES)
            .map(|part| sorted[(sorted.len() * part / RANGES).saturating_sub(1)])
            .filter(|bound| *bound < most)
            .collect();
        bounds.dedup();
        let ends: Vec<f32> = bounds.iter().copied().chain([most]).collect();
        let name = |(at, end): (usize, &f32)| match at {
            0 => format!("{least} to {end}"),
            _ => format!("above {} to {end}", ends[at - 1]),
        };
        Self {
            names: ends.iter().enumerate().map(name).collect(),
            rule: GroupRule::Range(bounds),
        }
    }

    /// The groups' names, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All groups that an example counts for; none where its label is secret. A score beyond those
    /// that the groups were made of may be of one that has no name.
    pub fn all_of(&self, label: &[f32]) -> Vec<usize> {
        match (&self.rule, label) {
            (GroupRule::Labels, values) => {
                let values = values.iter().enumerate();
                values
                    .filter(|(_, value)| **value == 1.0)
                    .map(|(at, _)| at)
                    .collect()
            }
            (rule, [label]) if !label.is_nan() => rule.of_one(*label).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The group that each example is divided by, as a number; NaN where its label is secret, or
    /// there are no groups.
    #[must_use]
    pub fn of_split(&self, split: &Split) -> Vec<f32> {
        let of = |at: usize| {
            let label = split.label_values(at);
            if label.iter().any(|value| value.is_nan()) {
                return f32::NAN;
            }
            let group = self.all_of(label).first().copied();
            match (&self.rule, group) {
                (GroupRule::None, _) => f32::NAN,
                (_, group) => group.unwrap_or(self.names.len()) as f32,
            }
        };
        (0..split.len()).map(of).collect()
    }
}

impl GroupRule {
    fn of_one(&self, label: f32) -> Option<usize> {
        match self {
            Self::Class => Some(label as usize),
            Self::Whole(first) => {
                let number = label.round() as i64;
                usize::try_from(number.saturating_sub(*first)).ok()
            }
            Self::Range(bounds) => Some(bounds.partition_point(|bound| *bound < label)),
            Self::Labels | Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(scores: &[f32]) -> (Vec<String>, Vec<usize>) {
        let groups = LabelGroups::of_scores(scores);
        let of = scores
            .iter()
            .flat_map(|score| groups.all_of(&[*score]))
            .collect();
        (groups.names, of)
    }

    #[test]
    fn scores_of_some_whole_numbers_are_grouped_by_them() {
        let (names, of) = groups(&[7.4, 5.0, 9.6, 6.5]);
        assert_eq!(names, ["5", "6", "7", "8", "9", "10"]);
        assert_eq!(of, [2, 0, 5, 2]);
    }

    #[test]
    fn a_score_far_beyond_those_of_training_is_in_no_group_that_has_a_name() {
        let groups = LabelGroups::of_scores(&[-5.0, 0.0, 5.0]);
        assert_eq!(groups.names().len(), 11);
        assert_eq!(groups.all_of(&[-1e30]), [0_usize; 0]);
        assert!(groups.all_of(&[1e30]).iter().all(|group| *group >= 11));
    }

    #[test]
    fn other_scores_are_grouped_into_ranges_of_about_as_many() {
        let shares: Vec<f32> = (0..100).map(|at| at as f32 / 100.0).collect();
        let (names, of) = groups(&shares);
        assert_eq!(names.len(), RANGES);
        assert_eq!(
            (names[0].as_str(), names[4].as_str()),
            ("0 to 0.19", "above 0.79 to 0.99")
        );
        for group in 0..RANGES {
            assert_eq!(of.iter().filter(|it| **it == group).count(), 20);
        }
        let (_, of) = groups(&[0.5; 9]);
        assert_eq!(of, [0; 9]);
        let wide: Vec<f32> = (0..50).map(|at| (at * at) as f32).collect();
        assert_eq!(groups(&wide).0.len(), RANGES);
        assert_eq!(groups(&[f32::NAN]).1, [0_usize; 0]);
    }
}
