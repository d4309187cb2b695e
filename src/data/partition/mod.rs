//! Dividing the training examples among the clients.
//!
//! Every example is in exactly one shard, no shard is empty, and the seed alone decides what is
//! random. A shard lists its examples' positions in rising order.

pub(crate) mod label_skew;
pub mod spec;

#[cfg(test)]
mod tests;

use rand::seq::SliceRandom;
use regatta_actors::random::{Stream, StreamKey};

use crate::data::partition::spec::Partition;
use crate::data::split::CategoricalColumn;

/// Why examples cannot be divided as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// A specification that cannot be read.
    #[error(
        "unknown partition `{found}`: expected iid, contiguous, natural:COLUMN, dirichlet(ALPHA), \
         quantity(ALPHA) with ALPHA > 0, or classes(K) with K > 0"
    )]
    Unknown {
        /// The specification as it was given.
        found: String,
    },
    /// Some client would get nothing.
    #[error("{clients} clients cannot share {examples} examples{of}: some would have none")]
    EmptyShard {
        /// The clients.
        clients: usize,
        /// The examples.
        examples: usize,
        /// Of what group the examples are, if not all.
        of: String,
    },
    /// No clients at all.
    #[error("0 clients: expected at least 1")]
    NoClients,
    /// More classes per client than there are.
    #[error("classes({per_client}): the training split has only {classes} classes")]
    TooManyClasses {
        /// Classes wanted per client.
        per_client: usize,
        /// Classes there are.
        classes: usize,
    },
    /// Some class would belong to nobody.
    #[error(
        "classes({per_client}) with {clients} clients covers {} of {classes} classes: use more \
         clients or more classes each", per_client * clients
    )]
    ClassLeftOver {
        /// Classes wanted per client.
        per_client: usize,
        /// The clients.
        clients: usize,
        /// Classes there are.
        classes: usize,
    },
    /// A partition by label of examples without labels.
    #[error("{partition}: example {position} has no label")]
    Unlabelled {
        /// The partition.
        partition: String,
        /// The example's position.
        position: usize,
    },
    /// A natural partition by a column that was not read.
    #[error("natural:{column}: the training split has no column `{column}`")]
    NoColumn {
        /// The column's name.
        column: String,
    },
}

/// Divides examples among clients.
///
/// `labels` has one entry an example; label skew takes them rounded, so that a regression's scores
/// (STS-B's 0 to 5) form six classes. `column` is needed by [`Partition::Natural`] alone.
///
/// # Errors
/// When the division is impossible; see [`PartitionError`].
pub fn partition(
    spec: &Partition,
    labels: &[f32],
    column: Option<&CategoricalColumn>,
    clients: usize,
    seed: u64,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if clients == 0 {
        return Err(PartitionError::NoClients);
    }
    check_enough(clients, labels.len(), "")?;
    let key = StreamKey {
        seed,
        purpose: "partition",
        name: "",
        round: 0,
        attempt: 0,
    };
    let stream = &mut key.stream();
    let everyone: Vec<u32> = (0..labels.len() as u32).collect();
    let mut shards = match spec {
        Partition::Contiguous => split_evenly(&everyone, clients),
        Partition::Iid => split_evenly(&shuffled(everyone, stream), clients),
        Partition::Quantity(alpha) => {
            let sizes = label_skew::dirichlet_sizes(everyone.len(), clients, *alpha, stream);
            let mut shards = label_skew::split_by_sizes(&shuffled(everyone, stream), &sizes);
            label_skew::fill_empty(&mut shards);
            shards
        }
        Partition::Dirichlet(alpha) => {
            label_skew::by_dirichlet(groups_by_class(spec, labels)?, clients, *alpha, stream)
        }
        Partition::Classes(count) => {
            label_skew::by_classes(groups_by_class(spec, labels)?, clients, *count, stream)?
        }
        Partition::Natural(name) => {
            let missing = || PartitionError::NoColumn {
                column: name.clone(),
            };
            by_column(column.ok_or_else(missing)?, clients, stream)?
        }
    };
    shards.iter_mut().for_each(|shard| shard.sort_unstable());
    Ok(shards)
}

/// Gives every client one value's examples, values in alphabetical order: with more clients than
/// values several clients share one, with fewer a client takes several, the greatest first and
/// each to whoever has least.
fn by_column(
    column: &CategoricalColumn,
    clients: usize,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let mut names: Vec<usize> = (0..column.values().len()).collect();
    names.sort_by_key(|code| &column.values()[*code]);
    let mut groups = vec![Vec::new(); names.len()];
    for (position, code) in column.codes().iter().enumerate() {
        groups[*code as usize].push(position as u32);
    }
    if clients < names.len() {
        return Ok(pack(
            names.iter().map(|code| std::mem::take(&mut groups[*code])),
            clients,
        ));
    }
    let mut shards = vec![Vec::new(); clients];
    for (rank, code) in names.iter().enumerate() {
        let holders: Vec<usize> = (rank..clients).step_by(names.len()).collect();
        let group = std::mem::take(&mut groups[*code]);
        let of = format!(" of `{}`", column.values()[*code]);
        check_enough(holders.len(), group.len(), &of)?;
        let parts = split_evenly(&shuffled(group, stream), holders.len());
        holders
            .into_iter()
            .zip(parts)
            .for_each(|(client, part)| shards[client] = part);
    }
    Ok(shards)
}

/// Puts whole groups into shards, the greatest group first, each into the smallest shard.
fn pack(groups: impl Iterator<Item = Vec<u32>>, clients: usize) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = groups.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut shards: Vec<Vec<u32>> = vec![Vec::new(); clients];
    for group in groups {
        if let Some(smallest) = shards.iter_mut().min_by_key(|shard| shard.len()) {
            smallest.extend(group);
        }
    }
    shards
}

/// The examples of each class there is, classes in rising order.
fn groups_by_class(spec: &Partition, labels: &[f32]) -> Result<Vec<Vec<u32>>, PartitionError> {
    let mut groups = std::collections::BTreeMap::<i64, Vec<u32>>::new();
    for (position, label) in labels.iter().enumerate() {
        if label.is_nan() {
            return Err(PartitionError::Unlabelled {
                partition: spec.to_string(),
                position,
            });
        }
        groups
            .entry(label.round() as i64)
            .or_default()
            .push(position as u32);
    }
    Ok(groups.into_values().collect())
}

/// Consecutive pieces whose sizes differ by at most one, the larger ones first, as NumPy's
/// `array_split` makes them.
fn split_evenly(positions: &[u32], pieces: usize) -> Vec<Vec<u32>> {
    let (size, larger) = (positions.len() / pieces, positions.len() % pieces);
    let sizes: Vec<usize> = (0..pieces)
        .map(|piece| size + usize::from(piece < larger))
        .collect();
    label_skew::split_by_sizes(positions, &sizes)
}

fn shuffled(mut positions: Vec<u32>, stream: &mut Stream) -> Vec<u32> {
    positions.shuffle(stream);
    positions
}

fn check_enough(clients: usize, examples: usize, of: &str) -> Result<(), PartitionError> {
    if clients <= examples {
        return Ok(());
    }
    Err(PartitionError::EmptyShard {
        clients,
        examples,
        of: of.to_owned(),
    })
}
