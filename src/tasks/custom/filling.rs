//! A split that is filled with examples, and checked as a whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use crate::data::error::{DataError, SourceSpan};
use crate::data::schema::SplitName;
use crate::data::split::{Example, Split};
use crate::model::objective::Objective;
use crate::tasks::Task;
use crate::tasks::custom::CustomTask;
use crate::tasks::custom::example::OwnExample;
use crate::tasks::custom::labels::LabelValue;

/// A split that is filled with examples.
pub(crate) struct SplitFiller<'a> {
    task: &'a CustomTask,
    split: Split,
    limit: Option<usize>,
    further: Vec<String>,
    ids: HashMap<String, SourceSpan>,
    texts: HashSet<[u8; 16]>,
    without_second: usize,
}

impl<'a> SplitFiller<'a> {
    /// An empty split that takes at most `limit` examples, with the values of further columns.
    pub fn new(
        task: &'a CustomTask,
        name: SplitName,
        limit: Option<usize>,
        further: &[String],
    ) -> Self {
        Self {
            task,
            split: match task.num_set_labels() {
                Some(labels) => Split::with_sets(task.has_second_text(), name, labels),
                None => Split::new(task.has_second_text(), name),
            },
            limit,
            further: further.to_vec(),
            ids: HashMap::new(),
            texts: HashSet::new(),
            without_second: 0,
        }
    }

    /// The split's name.
    pub fn name(&self) -> SplitName {
        self.split.name()
    }

    /// The most examples that it takes.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The examples so far.
    pub fn len(&self) -> usize {
        self.split.len()
    }

    /// Adds an example, unless the limit is reached.
    ///
    /// # Errors
    /// If another has its id.
    pub fn add(&mut self, example: &OwnExample) -> Result<(), DataError> {
        if self.limit.is_some_and(|limit| self.len() >= limit) {
            return Ok(());
        }
        let pushed = Example {
            id: self.split.len() as u32,
            text_a: &example.text_a,
            text_b: example.text_b.as_deref(),
            label: match &example.label {
                LabelValue::One(label) => Some(*label),
                LabelValue::Secret | LabelValue::Set(_) => None,
            },
        };
        match &example.label {
            LabelValue::Set(set) => self.split.push_set(pushed, Some(set)),
            LabelValue::One(_) | LabelValue::Secret => self.split.push(pushed),
        }
        for (column, value) in self.further.iter().zip(&example.values) {
            if let Some(value) = value {
                self.split.push_value(column, value);
            }
        }
        if self.task.has_labels() && example.text_b.as_deref().is_some_and(is_blank) {
            self.without_second += 1;
        }
        self.texts.insert(text_key(self.task, example));
        let Some(id) = &example.id else { return Ok(()) };
        self.split.push_own_id(id);
        match self.ids.insert(id.clone(), example.place.clone()) {
            Some(first) => Err(DataError::SameId {
                id: id.clone(),
                first,
                second: example.place.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Refuses an id that an example of the other split has too: both are of the same files.
    pub fn require_apart_from(&self, other: &Self) -> Result<(), DataError> {
        let ids = self.ids.iter();
        let shared = ids.filter_map(|(id, place)| Some((place, id, other.ids.get(id)?)));
        let Some((place, id, others)) = shared.min() else {
            return Ok(());
        };
        Err(DataError::SameId {
            id: id.clone(),
            first: place.min(others).clone(),
            second: place.max(others).clone(),
        })
    }

    /// Refuses a share of the training examples that holds out none, or all.
    pub fn require_held_out(&self, share: f64, train: usize) -> Result<(), DataError> {
        let held_out = self.len();
        if held_out + train == 0 || self.limit == Some(0) || held_out > 0 && train > 0 {
            return Ok(());
        }
        let which = match held_out {
            0 => "none",
            _ => "all",
        };
        Err(DataError::Split {
            split: SplitName::Train,
            wrong: format!(
                "has {} examples, of which holdout = {share} holds out {which}; give another share, \
                 or files for validation",
                held_out + train
            ),
        })
    }

    /// Counts the texts that the other split has too, and warns of them.
    pub fn warn_of_texts_of(&self, other: &Self) {
        let shared = self.texts.intersection(&other.texts).count();
        if shared > 0 {
            tracing::warn!(
                "{shared} texts of the {} split are in the {} split too",
                self.name(),
                other.name()
            );
        }
    }

    /// The split, if it can be used.
    ///
    /// # Errors
    /// If it is empty, or clients cannot learn from it.
    pub fn finish(self, files: &[PathBuf]) -> Result<Split, DataError> {
        let name = self.name();
        if self.split.is_empty() && self.limit != Some(0) {
            return Err(DataError::Empty {
                path: files.first().cloned().unwrap_or_default(),
            });
        }
        if self.without_second > 0 {
            tracing::warn!(
                "{} examples of the {name} split have an empty second text",
                self.without_second
            );
        }
        if !name.is_test() && self.task.has_labels() {
            self.check_labels()?;
        }
        Ok(self.split)
    }

    fn check_labels(&self) -> Result<(), DataError> {
        let (name, split) = (self.name(), &self.split);
        if name == SplitName::Train && self.task.objective() == Objective::Score {
            warn_of_large_scores(split.labels());
        }
        let mut seen = BTreeSet::new();
        for at in 0..split.len() {
            let values = split.label_values(at);
            if split.label_width() == 1 {
                seen.extend(values.iter().map(|label| label.to_bits()));
            } else {
                let of_set = (0u32..).zip(values).filter(|(_, value)| **value == 1.0);
                seen.extend(of_set.map(|(label, _)| label));
            }
        }
        let names = match self.task.objective() {
            Objective::Classes(names) | Objective::Multilabel(names) => names,
            Objective::Score | Objective::NextToken => Vec::new(),
        };
        let is_set = split.label_width() > 1;
        let number = |at: usize| match is_set {
            true => at as u32,
            false => (at as f32).to_bits(),
        };
        let absent: Vec<&str> = names
            .iter()
            .enumerate()
            .filter(|(at, _)| !seen.contains(&number(*at)))
            .map(|(_, name)| name.as_str())
            .collect();
        if seen.len() < 2 && !is_set || seen.is_empty() {
            let what = match self.task.objective() {
                Objective::Multilabel(_) => "has no example with a label",
                Objective::Score => "has examples of one score only",
                Objective::Classes(_) | Objective::NextToken => "has examples of one label only",
            };
            let wrong = what.to_owned();
            // What a limit cuts off is not known.
            if name == SplitName::Train && self.limit.is_none() {
                return Err(DataError::Split {
                    split: name,
                    wrong: wrong + ", so there is nothing to learn; name other files",
                });
            }
            tracing::warn!("the {name} split {wrong}");
        } else if !absent.is_empty() {
            tracing::warn!(
                "the {name} split has no example of {} of {} labels: {}",
                absent.len(),
                names.len(),
                shortened(&absent)
            );
        }
        Ok(())
    }
}

/// Scores far from those that a model gives before it is trained take very many steps to learn.
fn warn_of_large_scores(scores: &[f32]) {
    const LARGE: f32 = 1e3;
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if least.abs().max(most.abs()) > LARGE {
        tracing::warn!(
            "the scores of the training examples go from {least} to {most}, and a model begins with \
             scores near 0: it learns them sooner if they are divided, so that they are about 1"
        );
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn shortened(names: &[&str]) -> String {
    const MOST: usize = 10;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len() > MOST {
        true => shown + ", …",
        false => shown,
    }
}

/// A short digest of an example's texts.
fn text_key(task: &CustomTask, example: &OwnExample) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    example.hash_texts(task, &mut hasher);
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}
