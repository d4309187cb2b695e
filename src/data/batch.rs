//! The order of an epoch, and batches padded to their own longest.

use rand::seq::SliceRandom;
use regatta_actors::random::StreamKey;

use crate::data::encoded::{Counts, EncodedSplit};

/// A padded batch, row-major, ready to become tensors of shape `[rows, cols]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows: examples, unless rows have several.
    pub rows: usize,
    /// Tokens of the longest row, 1 at the least: a text can have none.
    pub cols: usize,
    /// Token ids, `[rows, cols]`.
    pub input_ids: Vec<i64>,
    /// 1 for a token, 0 for padding, `[rows, cols]`.
    pub attention_mask: Vec<i64>,
    /// Token types, `[rows, cols]`.
    pub token_type_ids: Vec<i64>,
    /// The tokens of each example of each row, where rows have several examples.
    pub packed: Option<Vec<Vec<i64>>>,
    /// What a model is to give for it.
    pub labels: BatchLabels,
}

/// What a model is to give for a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchLabels {
    /// Class numbers or scores, NaN where secret, `[rows]`.
    Rows(Vec<f32>),
    /// Which labels a row has, 1 or 0 for each, NaN where secret, `[rows, labels]`.
    Sets {
        /// The values, row-major.
        values: Vec<f32>,
        /// Labels that a row may have.
        labels: usize,
    },
    /// The tokens of answers.
    Tokens {
        /// For each, the place of the token before it: its row times `cols`, plus its position.
        places: Vec<i64>,
        /// Their ids.
        tokens: Vec<i64>,
    },
}

impl BatchLabels {
    /// The number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(labels) | Self::Sets { values: labels, .. } => labels.len(),
            Self::Tokens { tokens, .. } => tokens.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all are known.
    #[must_use]
    pub fn are_known(&self) -> bool {
        match self {
            Self::Rows(labels) | Self::Sets { values: labels, .. } => {
                !labels.iter().any(|label| label.is_nan())
            }
            Self::Tokens { .. } => true,
        }
    }
}

impl Batch {
    /// Gathers examples by position and pads them on the right with `pad_id`.
    ///
    /// # Panics
    /// If a position is not in the split.
    #[must_use]
    pub fn gather(split: &EncodedSplit, positions: &[u32], pad_id: u32) -> Self {
        let rows: Vec<&[u32]> = positions.chunks(1).collect();
        Self::of_rows(split, &rows, pad_id)
    }

    /// Gathers the examples of each row, one after the other, and pads rows on the right.
    ///
    /// # Panics
    /// If a position is not in the split.
    #[must_use]
    pub fn gather_packed(split: &EncodedSplit, rows: &[Vec<u32>], pad_id: u32) -> Self {
        let length = |position: &u32| split.ids(*position as usize).len() as i64;
        let lengths = |row: &Vec<u32>| row.iter().map(length).collect();
        let all: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        Self {
            packed: Some(rows.iter().map(lengths).collect()),
            ..Self::of_rows(split, &all, pad_id)
        }
    }

    fn of_rows(split: &EncodedSplit, all: &[&[u32]], pad_id: u32) -> Self {
        let length =
            |row: &&[u32]| -> usize { row.iter().map(|at| split.ids(*at as usize).len()).sum() };
        let rows = all.len();
        let cols = all.iter().map(length).max().unwrap_or(0).max(1);
        let positions = all.iter().copied().flatten().map(|at| *at as usize);
        let mut batch = Self {
            rows,
            cols,
            packed: None,
            input_ids: vec![i64::from(pad_id); rows * cols],
            attention_mask: vec![0; rows * cols],
            token_type_ids: vec![0; rows * cols],
            labels: match split.counts() {
                Counts::Labels => {
                    let values = positions.flat_map(|at| split.label_values(at));
                    let values: Vec<f32> = values.copied().collect();
                    match split.label_width() {
                        1 => BatchLabels::Rows(values),
                        labels => BatchLabels::Sets { values, labels },
                    }
                }
                Counts::Answers => BatchLabels::Tokens {
                    places: Vec::new(),
                    tokens: Vec::new(),
                },
            },
        };
        for (row, examples) in all.iter().enumerate() {
            let mut start = row * batch.cols;
            for at in examples.iter().map(|at| *at as usize) {
                batch.fill(start, split.ids(at), split.type_ids(at));
                batch.add_targets(start, split.ids(at), split.answer(at));
                start += split.ids(at).len();
            }
        }
        batch
    }

    /// The number of examples.
    #[must_use]
    pub fn examples(&self) -> usize {
        let packed = self.packed.as_ref();
        packed.map_or(self.rows, |rows| rows.iter().map(Vec::len).sum())
    }

    /// Adds the tokens of an example's answers, whose places in it are given; it begins at `start`.
    fn add_targets(&mut self, start: usize, ids: &[u32], answer: impl Iterator<Item = usize>) {
        if let BatchLabels::Tokens { places, tokens } = &mut self.labels {
            for at in answer {
                places.push((start + at - 1) as i64);
                tokens.push(i64::from(ids[at]));
            }
        }
    }

    /// Lays an example's tokens down from `start` on.
    fn fill(&mut self, start: usize, ids: &[u32], type_ids: &[u8]) {
        for (offset, (id, type_id)) in ids.iter().zip(type_ids).enumerate() {
            self.input_ids[start + offset] = i64::from(*id);
            self.attention_mask[start + offset] = 1;
            self.token_type_ids[start + offset] = i64::from(*type_id);
        }
    }
}

/// The positions `0..n` in an order that depends on the key alone.
#[must_use]
pub fn epoch_order(n: usize, key: StreamKey<'_>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut key.stream());
    order
}

/// Batches of like lengths, to pad little, from an order that stays random: within windows of
/// [`WINDOW`] batches examples are sorted by `length`, and the full batches then change places at
/// random. Cut by [`batches`], the order gives the same examples as before, each once.
///
/// # Panics
/// If `batch_size` is 0.
pub fn group_by_length(
    order: &mut [u32],
    batch_size: usize,
    length: impl Fn(u32) -> usize,
    key: StreamKey<'_>,
) {
    for window in order.chunks_mut(WINDOW * batch_size) {
        // Stable, so that equal lengths keep their random order.
        window.sort_by_key(|position| length(*position));
    }
    let (full, _) = order.split_at_mut(order.len() / batch_size * batch_size);
    let mut places: Vec<Vec<u32>> = full.chunks(batch_size).map(<[u32]>::to_vec).collect();
    places.shuffle(&mut key.stream());
    for (place, batch) in full.chunks_mut(batch_size).zip(places) {
        place.copy_from_slice(&batch);
    }
}

/// Batches that are sorted among each other by [`group_by_length`]: enough for little padding, few
/// enough that which examples meet in a batch differs from epoch to epoch.
pub const WINDOW: usize = 16;

/// The positions of each batch: `order` cut into pieces of `batch_size`, the last one shorter.
///
/// # Panics
/// If `batch_size` is 0.
pub fn batches(order: &[u32], batch_size: usize) -> impl ExactSizeIterator<Item = &[u32]> {
    order.chunks(batch_size)
}
