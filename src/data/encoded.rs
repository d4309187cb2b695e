//! A split as a model takes it.

use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::data::token_cache::Tokens;

/// The type of an answer's tokens, as of a second text. A text of several turns has several ranges
/// of such tokens.
pub(crate) const ANSWER: u8 = 1;

/// What counts in the loss of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Its label.
    Labels,
    /// Each token of its answers: of the second text, or of the turns that a template marks.
    Answers,
}

/// A split as a model takes it: token ids laid end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedSplit {
    name: SplitName,
    tokens: Tokens,
    counts: Counts,
    labels: Vec<f32>,
    label_width: usize,
    example_ids: Vec<u32>,
}

impl EncodedSplit {
    pub(crate) fn new(split: &Split, tokens: Tokens, counts: Counts) -> Self {
        Self {
            name: split.name(),
            tokens,
            counts,
            labels: split.labels().to_vec(),
            label_width: split.label_width(),
            example_ids: split.ids().to_vec(),
        }
    }

    /// What counts in the loss.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The positions of an example's tokens that are its answers'. The first token is none, for
    /// nothing comes before it from which it could be predicted.
    ///
    /// # Panics
    /// If `position >= len()`.
    pub fn answer(&self, position: usize) -> impl Iterator<Item = usize> {
        let types = self.type_ids(position).iter().enumerate().skip(1);
        types.filter(|(_, of)| **of == ANSWER).map(|(at, _)| at)
    }

    /// The number of targets that an example's loss is a mean over: its label, each label that it
    /// may have, or the tokens of its answers, of which none is left where it was cut before them.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn num_targets(&self, position: usize) -> usize {
        match self.counts {
            Counts::Labels => self.label_width,
            Counts::Answers => self.answer(position).count(),
        }
    }

    /// Examples of which nothing counts.
    #[must_use]
    pub fn without_targets(&self) -> usize {
        (0..self.len())
            .filter(|at| self.num_targets(*at) == 0)
            .count()
    }

    /// The split's name.
    #[must_use]
    pub fn name(&self) -> SplitName {
        self.name
    }

    /// The number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels, NaN where one is secret: a class's number, a score, or 1 or 0 for each label
    /// that an example may have, row-major.
    #[must_use]
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The number of values in [`EncodedSplit::labels`] that an example has.
    #[must_use]
    pub fn label_width(&self) -> usize {
        self.label_width
    }

    /// The labels of an example.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn label_values(&self, position: usize) -> &[f32] {
        let width = self.label_width;
        &self.labels[position * width..][..width]
    }

    /// The examples' numbers, as a submission wants them.
    #[must_use]
    pub fn example_ids(&self) -> &[u32] {
        &self.example_ids
    }

    /// An example's token ids, special tokens included.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn ids(&self, position: usize) -> &[u32] {
        &self.tokens.ids[self.tokens.range(position)]
    }

    /// An example's token types: 1 for the second text where the model tells them apart, or where it
    /// is an answer.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn type_ids(&self, position: usize) -> &[u8] {
        &self.tokens.type_ids[self.tokens.range(position)]
    }

    /// Feeds what training and scoring read of the split to a hasher: tokens and labels.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&(self.len() as u64).to_le_bytes());
        for position in 0..self.len() {
            let ids = self.ids(position);
            hasher.update(&(ids.len() as u64).to_le_bytes());
            for id in ids {
                hasher.update(&id.to_le_bytes());
            }
            hasher.update(self.type_ids(position));
            for label in self.label_values(position) {
                hasher.update(&label.to_le_bytes());
            }
        }
    }

    /// Examples that were cut to the maximum length.
    #[must_use]
    pub fn truncated(&self) -> usize {
        self.tokens.truncated as usize
    }
}
