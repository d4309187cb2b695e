//! A task's scores by name: which value is better, and in which order they are shown.
//!
//! A score's name is that of a metric, or `loss`, with the suffix of its split; that of the model
//! before training begins with [`BASE`].

use std::borrow::Cow;
use std::collections::BTreeSet;

use regatta_actors::workload::update::Scores;
use serde::Serialize;

use crate::data::schema::SplitName;
use crate::tasks::metrics::info::MetricInfo;

/// What the names of scores begin with that the model had before training.
pub const BASE: &str = "base_";

/// The name of a score that the model had before training.
#[must_use]
pub fn base_of(score: &str) -> String {
    format!("{BASE}{score}")
}

/// The score that the model had before training, if the name is of one.
#[must_use]
pub fn base_name(score: &str) -> Option<&str> {
    score.strip_prefix(BASE)
}

/// Whether a score is a loss, on whichever split.
#[must_use]
pub fn is_loss(score: &str) -> bool {
    score.starts_with("loss")
}

/// A task's metrics, the one that the best round is chosen by first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MetricSet(pub Cow<'static, [MetricInfo]>);

impl MetricSet {
    /// A set that is known beforehand.
    #[must_use]
    pub const fn of(metrics: &'static [MetricInfo]) -> Self {
        Self(Cow::Borrowed(metrics))
    }

    /// Whether less of a score is better. Of one that is of no metric here, more is, unless it is a
    /// loss.
    #[must_use]
    pub fn less_is_better(&self, score: &str) -> bool {
        let metric = self.position(score).map(|at| self.0[at]);
        is_loss(score) || metric.is_some_and(|metric| !metric.higher_is_better)
    }

    /// Whether a value of a score is better than another.
    #[must_use]
    pub fn is_better(&self, score: &str, value: f64, than: f64) -> bool {
        match self.less_is_better(score) {
            true => value < than,
            false => value > than,
        }
    }

    /// The names of the scores of the trained model, each once: metrics in their order, what is of
    /// no metric here, and losses.
    #[must_use]
    pub fn names<'a>(&self, scores: impl IntoIterator<Item = &'a Scores>) -> Vec<String> {
        let names = scores.into_iter().flat_map(Scores::keys);
        let own = names.filter(|name| base_name(name).is_none());
        let own: BTreeSet<&String> = own.collect();
        let mut names: Vec<String> = own.into_iter().cloned().collect();
        names.sort_by_key(|name| (is_loss(name), self.position(name).unwrap_or(usize::MAX)));
        names
    }

    /// A score's name for people.
    #[must_use]
    pub fn title(&self, score: &str) -> String {
        let metric = self.position(score).map(|at| self.0[at]);
        match metric.and_then(|metric| Some((metric.title?, &score[metric.name.len()..]))) {
            Some((title, suffix)) => format!("{title}{}", suffix.replace('_', " ")),
            None => score.replace('_', " "),
        }
    }

    /// The same where a loss may stand beside that of training.
    #[must_use]
    pub fn eval_title(&self, score: &str) -> String {
        let eval = if is_loss(score) { "eval " } else { "" };
        format!("{eval}{}", self.title(score))
    }

    /// The place of the metric that a score is of, on whichever split.
    fn position(&self, score: &str) -> Option<usize> {
        let suffix = SplitName::ValidationMismatched.score_suffix();
        let metric = score.strip_suffix(suffix).unwrap_or(score);
        self.0.iter().position(|info| info.name == metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: MetricSet = MetricSet::of(&[
        MetricInfo::lower("perplexity"),
        MetricInfo::higher("bleu").titled("BLEU"),
    ]);

    #[test]
    fn names_are_in_the_order_of_the_metrics_without_those_of_the_base() {
        let scores = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        let first: Scores = scores(&["base_loss", "base_perplexity", "loss", "perplexity"]);
        let later: Scores = scores(&["base_bleu", "bleu", "bleu_mm", "chrf", "loss", "loss_mm"]);
        let expected = ["perplexity", "bleu", "bleu_mm", "chrf", "loss", "loss_mm"];
        assert_eq!(METRICS.names([&first, &later]), expected);
        assert!(METRICS.names([]).is_empty());
    }

    #[test]
    fn less_is_better_of_losses_and_of_metrics_that_say_so_on_every_split() {
        for score in ["loss", "loss_mm", "perplexity", "perplexity_mm"] {
            assert!(METRICS.is_better(score, 1.0, 2.0), "{score}");
        }
        for score in ["bleu", "chrf"] {
            assert!(METRICS.is_better(score, 2.0, 1.0), "{score}");
        }
        assert!(!METRICS.is_better("bleu", 1.0, 1.0));
    }

    #[test]
    fn a_title_keeps_the_split() {
        assert_eq!(METRICS.title("bleu_mm"), "BLEU mm");
        assert_eq!(METRICS.title("rouge_l"), "rouge l");
    }
}
