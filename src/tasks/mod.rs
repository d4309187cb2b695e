//! What is learned: tasks with their data, their metrics and the files that they are submitted in.
//!
//! A [`Task`] says what a model is to give, reads its examples and scores what a model gives for
//! them; [`registry`] lists those that have a name. [`glue`] has GLUE's nine, [`e2e`] E2E NLG,
//! [`gsm8k`] word problems, [`instruct`] instructions and conversations of any origin, [`custom`]
//! other tasks on files of the user's own; [`metrics`] scores predictions, [`texts`] what is written
//! for prompts; [`label_groups`] groups examples by label; [`summary`] and [`show`] count and show
//! what there is at each step, for `regatta data`.

pub mod custom;
pub mod e2e;
pub mod glue;
pub mod gsm8k;
pub mod instruct;
pub mod label_groups;
pub mod metrics;
pub mod registry;
pub mod show;
pub mod summary;
pub mod texts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::hub_error::HubError;
use crate::data::encoded::EncodedSplit;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::data::tokenize::TextEncoder;
use crate::model::objective::Objective;
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::metrics::set::MetricSet;
use crate::tasks::texts::{TextDefaults, WrittenText};

/// A task: what its examples are, what a model is to give for them, and how that is scored.
pub trait Task: fmt::Debug + Send + Sync {
    /// Its name in flags, files and messages.
    fn name(&self) -> &str;

    /// Whether this is one of its names.
    fn is_called(&self, name: &str) -> bool;

    /// What a model is trained to give.
    fn objective(&self) -> Objective;

    /// The whole numbers that scores are counted and divided by, where that is known beforehand.
    fn whole_scores(&self) -> Option<RangeInclusive<i64>> {
        None
    }

    /// Its metrics, the one that the best round is chosen by first.
    fn metrics(&self) -> &[MetricInfo];

    /// The longest sequence in tokens, where nothing else is said.
    fn max_seq_length(&self) -> u32 {
        128
    }

    /// The folder within `dir`, or `dir` itself, that holds the task's files.
    ///
    /// # Errors
    /// If there is none, or several could be meant.
    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError>;

    /// Whether the hub has the task's files.
    fn is_on_hub(&self) -> bool {
        true
    }

    /// Fetches the task's files from the hub, and gives their folder.
    ///
    /// # Errors
    /// If they are unavailable.
    fn fetch(&self) -> Result<PathBuf, HubError>;

    /// Reads all splits from a folder that [`Task::locate`] accepts.
    ///
    /// # Errors
    /// If files are missing, or hold what the task does not allow; and when the training split
    /// lacks a column asked for.
    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError>;

    /// Turns examples into tokens, which are kept in the folder `cache` if there is one.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or the model does not embed what it gives.
    fn encode(
        &self,
        split: &Split,
        encoder: &TextEncoder,
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        match (self.objective(), cache) {
            (Objective::NextToken, cache) => encoder.encode_answers(split, cache),
            (_, Some(folder)) => encoder.encode_cached(split, folder),
            (_, None) => encoder.encode(split),
        }
    }

    /// What comes out of a model, and is scored.
    fn outputs(&self) -> Outputs<'_>;

    /// Writes texts for the prompts of a split into a folder, in the task's own form.
    ///
    /// # Errors
    /// If a file cannot be written. An earlier file of that name then stays as it was.
    fn write_texts(
        &self,
        written: &[WrittenText],
        split: &Split,
        folder: &Path,
    ) -> Result<(), DataError> {
        Ok(texts::write(written, self.name(), split.name(), folder)?)
    }

    /// The template by which its prompts are made, if there is a choice and it is made.
    fn template(&self) -> Option<String> {
        None
    }

    /// The same with a template of this name, or why there is none. `None`: there is no choice.
    fn with_template(&self, _name: &str) -> Option<Result<SharedTask, String>> {
        None
    }

    /// The same with what data and model decide where nothing is said, such as its template; `None`:
    /// nothing is left to decide. Says what the user is to know of it.
    ///
    /// # Errors
    /// If the model lacks what the task needs.
    fn settled(
        &self,
        _train: &Split,
        _encoder: &TextEncoder,
    ) -> Result<Option<SharedTask>, DataError> {
        Ok(None)
    }

    /// What a prompt names, for people: names and values. Nothing where a prompt is text.
    fn prompt_parts<'a>(&self, _prompt: &'a str) -> Vec<(&'a str, &'a str)> {
        Vec::new()
    }
}

/// What comes out of a model.
#[derive(Clone, Copy)]
pub enum Outputs<'a> {
    /// A class or a score for each example.
    Labels(&'a dyn LabelTask),
    /// A text for each prompt.
    Texts(&'a dyn TextTask),
}

/// A task whose models give a class or a score.
pub trait LabelTask {
    /// The scores, by metric, of a model's outputs, row-major, against labels.
    ///
    /// # Panics
    /// If there are not outputs for as many examples as there are labels.
    fn score(&self, outputs: &[f32], labels: &[f32]) -> BTreeMap<String, f64>;

    /// Writes what a model's outputs for a split predict into a folder, in the task's own form.
    ///
    /// # Errors
    /// If an output is not a prediction (such as NaN) or a file cannot be written. An earlier file of
    /// that name then stays as it was.
    ///
    /// # Panics
    /// If there are not as many outputs as the split has examples.
    fn write_predictions(
        &self,
        outputs: &[f32],
        split: &Split,
        folder: &Path,
    ) -> Result<(), DataError>;
}

/// A task whose models write texts.
pub trait TextTask {
    /// How they do so where nothing else is said.
    fn defaults(&self) -> TextDefaults;

    /// The prompt, as examples have it, of a text that a user gives.
    fn prompt(&self, text: &str) -> String;

    /// A prompt of an example, for people.
    fn shown(&self, prompt: &str) -> String {
        prompt.to_owned()
    }

    /// The tokens of prompts, whole.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or gives what the model does not embed.
    fn encode_prompts(
        &self,
        prompts: &[&str],
        encoder: &TextEncoder,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        encoder.encode_prompts(prompts)
    }

    /// The tokens that end a text.
    ///
    /// # Errors
    /// If the model lacks what the task needs.
    fn end_tokens(&self, encoder: &TextEncoder) -> Result<Vec<u32>, DataError> {
        Ok(encoder.end_tokens().to_vec())
    }

    /// The scores, by metric, of texts against their references; none where a text has no references,
    /// or there is no text.
    fn score(&self, written: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64>;
}

impl dyn Task + '_ {
    /// The task as one whose models write texts, if it is.
    #[must_use]
    pub fn texts(&self) -> Option<&dyn TextTask> {
        match self.outputs() {
            Outputs::Labels(_) => None,
            Outputs::Texts(texts) => Some(texts),
        }
    }

    /// Its metrics, by which its scores are compared and ordered.
    #[must_use]
    pub fn metric_set(&self) -> MetricSet {
        MetricSet(Cow::Owned(self.metrics().to_vec()))
    }

    /// The metric that the best round is chosen by.
    #[must_use]
    pub fn primary_metric(&self) -> MetricInfo {
        self.metrics()[0]
    }
}

impl fmt::Display for dyn Task + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A task that several own. Two are equal if they have one name.
#[derive(Debug, Clone)]
pub struct SharedTask(pub Arc<dyn Task>);

impl Deref for SharedTask {
    type Target = dyn Task;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for SharedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for SharedTask {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// A task's data.
#[derive(Debug, Clone)]
pub struct TaskData {
    /// The folder that the files were found in.
    pub folder: PathBuf,
    /// The split that clients train on.
    pub train: Split,
    /// Held-out splits with labels: one, or MNLI's two.
    pub validation: Vec<Split>,
    /// Splits to predict; empty where the folder has none.
    pub test: Vec<Split>,
}

/// How much of a task's data is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Read only the first N training examples.
    pub limit_train: Option<usize>,
    /// Read only the first N examples of each validation split.
    pub limit_eval: Option<usize>,
    /// Read only the first N examples of each test split.
    pub limit_test: Option<usize>,
    /// Further columns to keep, for partitions by one of them. The training split must have
    /// them, other splits may.
    pub columns: Vec<String>,
}
