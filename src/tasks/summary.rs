//! What `regatta data` shows: sizes, label counts and lengths of a task, and each client's share.

use serde::Serialize;

use crate::base::table::{Cell, Table};
use crate::data::encoded::EncodedSplit;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::tasks::label_groups::LabelGroups;

/// A task's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSummary {
    /// The task's name.
    pub task: String,
    /// Each split's figures.
    pub splits: Vec<SplitSummary>,
    /// Each client's share of the training split.
    pub clients: Vec<ShardSummary>,
}

/// One split's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitSummary {
    /// The split.
    pub split: SplitName,
    /// Its examples.
    pub examples: usize,
    /// Examples by label.
    pub labels: LabelCounts,
    /// Tokens an example, special tokens included, after truncation.
    pub tokens: Option<Lengths>,
    /// Examples cut to the maximum length.
    pub truncated: usize,
    /// Examples whose answer was cut away entirely, which are left out.
    pub without_answer: usize,
    /// Broken lines left out when the file was read.
    pub skipped: usize,
}

/// One client's share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardSummary {
    /// The client's number.
    pub client: usize,
    /// Its examples.
    pub examples: usize,
    /// Examples by label.
    pub labels: LabelCounts,
}

/// Examples by label, in the order of the labels; scores by their nearest whole number, or by
/// range. An example with several labels counts for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Label and examples. Labels without examples are listed too.
    pub known: Vec<(String, usize)>,
    /// Examples whose label is secret.
    pub secret: usize,
}

impl LabelCounts {
    /// Counts labels as [`Split::label_values`] gives them, example by example.
    pub fn of<'a>(groups: &LabelGroups, labels: impl IntoIterator<Item = &'a [f32]>) -> Self {
        let names = groups.names().iter();
        let mut known: Vec<(String, usize)> = names.map(|name| (name.clone(), 0)).collect();
        let mut secret = 0;
        for label in labels {
            // Answers have no labels, and so none that is secret.
            let is_secret = !known.is_empty() && label.iter().any(|value| value.is_nan());
            secret += usize::from(is_secret);
            for group in groups.all_of(label) {
                if let Some((_, count)) = known.get_mut(group) {
                    *count += 1;
                }
            }
        }
        Self { known, secret }
    }
}

/// The distribution of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub least: usize,
    /// The mean.
    pub mean: f64,
    /// As long as half of them at most.
    pub median: usize,
    /// As long as nine in ten at most.
    pub p90: usize,
    /// As long as 99 in a hundred at most.
    pub p99: usize,
    /// The longest.
    pub most: usize,
}

impl Lengths {
    /// Of a split's examples; `None` if there are none.
    #[must_use]
    pub fn of(split: &EncodedSplit) -> Option<Self> {
        let mut lengths: Vec<usize> = (0..split.len()).map(|at| split.ids(at).len()).collect();
        lengths.sort_unstable();
        let most = *lengths.last()?;
        // The least length that a given share of the examples does not exceed (nearest rank).
        let quantile = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100) - 1];
        Some(Self {
            least: lengths[0],
            mean: lengths.iter().sum::<usize>() as f64 / lengths.len() as f64,
            median: quantile(50),
            p90: quantile(90),
            p99: quantile(99),
            most,
        })
    }
}

impl SplitSummary {
    /// A split's figures; lengths only if it is encoded.
    #[must_use]
    pub fn of(groups: &LabelGroups, split: &Split, encoded: Option<&EncodedSplit>) -> Self {
        Self {
            split: split.name(),
            examples: split.len(),
            labels: LabelCounts::of(groups, (0..split.len()).map(|at| split.label_values(at))),
            tokens: encoded.and_then(Lengths::of),
            truncated: encoded.map_or(0, EncodedSplit::truncated),
            without_answer: encoded.map_or(0, EncodedSplit::without_targets),
            skipped: split.skipped(),
        }
    }
}

/// The clients' shares of a training split's labels.
#[must_use]
pub fn shards(groups: &LabelGroups, train: &Split, shards: &[Vec<u32>]) -> Vec<ShardSummary> {
    let summary = |(client, shard): (usize, &Vec<u32>)| ShardSummary {
        client,
        examples: shard.len(),
        labels: LabelCounts::of(
            groups,
            shard.iter().map(|at| train.label_values(*at as usize)),
        ),
    };
    shards.iter().enumerate().map(summary).collect()
}

impl DataSummary {
    /// The splits as a table.
    #[must_use]
    pub fn splits_table(&self) -> Table {
        let labels = self.splits.first().map(|it| &it.labels);
        let mut table = table("splits", ("split", "split"), labels);
        let lengths = [
            ("tokens_median", "tokens: median"),
            ("tokens_p90", "p90"),
            ("tokens_p99", "p99"),
            ("tokens_most", "most"),
            ("cut", "cut"),
            ("left_out", "left out"),
        ];
        for (key, title) in lengths {
            table.add_column(key, title);
        }
        for split in &self.splits {
            let mut row = vec![split.split.to_string().into(), split.examples.into()];
            row.extend(cells(&split.labels));
            let length = |of: fn(&Lengths) -> usize| {
                let tokens = split.tokens.as_ref();
                tokens.map_or_else(Cell::none, |tokens| of(tokens).into())
            };
            row.extend([
                length(|it| it.median),
                length(|it| it.p90),
                length(|it| it.p99),
                length(|it| it.most),
                split.truncated.into(),
                split.without_answer.into(),
            ]);
            table.add_row(row);
        }
        table
    }

    /// The clients' shares as a table.
    #[must_use]
    pub fn clients_table(&self) -> Table {
        let labels = self.clients.first().map(|it| &it.labels);
        let mut table = table("clients", ("client", "client"), labels);
        for shard in &self.clients {
            let mut row = vec![shard.client.into(), shard.examples.into()];
            row.extend(cells(&shard.labels));
            table.add_row(row);
        }
        table
    }
}

/// A table whose rows begin with a name, the examples, and the labels' counts.
fn table(name: &'static str, first: (&str, &str), labels: Option<&LabelCounts>) -> Table {
    let mut table = Table::new(name, &[first, ("examples", "examples")]);
    for (label, _) in labels.into_iter().flat_map(|it| &it.known) {
        table.add_column(label.clone(), label.clone());
    }
    table
}

/// The counts by label; a dash where all labels are secret.
fn cells(labels: &LabelCounts) -> impl Iterator<Item = Cell> {
    let hidden = labels.secret > 0 && labels.known.iter().all(|(_, count)| *count == 0);
    labels.known.iter().map(move |(_, count)| {
        if hidden {
            Cell::none()
        } else {
            (*count).into()
        }
    })
}
