//! Dividing the training examples among the clients.
//!
//! Every example is in exactly one shard, no shard is empty, and the seed alone decides what is
//! random. A shard lists its examples' positions in rising order.

pub mod error;
pub(crate) mod label_skew;
pub(crate) mod natural;
pub(crate) mod pieces;
pub(crate) mod quantity_skew;
pub mod spec;

#[cfg(test)]
mod tests;

use regatta_actors::random::StreamKey;

use crate::data::partition::error::PartitionError;
use crate::data::partition::spec::Partition;
use crate::data::split::CategoricalColumn;

/// Divides examples among clients.
///
/// `labels` has one entry an example; label skew takes them rounded, so that a regression's scores
/// (STS-B's 0 to 5) form six classes. `column` is needed by [`Partition::Natural`] alone.
///
/// # Errors
/// If the division is impossible; see [`PartitionError`].
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
    pieces::check_enough(clients, labels.len(), "")?;
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
        Partition::Contiguous => pieces::split_evenly(&everyone, clients),
        Partition::Iid => pieces::split_evenly(&pieces::shuffled(everyone, stream), clients),
        Partition::Quantity(alpha) => {
            let sizes = quantity_skew::dirichlet_sizes(everyone.len(), clients, *alpha, stream);
            let mut shards = pieces::split_by_sizes(&pieces::shuffled(everyone, stream), &sizes);
            pieces::fill_empty(&mut shards);
            shards
        }
        Partition::Dirichlet(alpha) => label_skew::by_dirichlet(
            label_skew::groups_by_class(spec, labels)?,
            clients,
            *alpha,
            stream,
        ),
        Partition::Classes(count) => label_skew::by_classes(
            label_skew::groups_by_class(spec, labels)?,
            clients,
            *count,
            stream,
        )?,
        Partition::Natural(name) => {
            let missing = || PartitionError::NoColumn {
                column: name.clone(),
            };
            natural::by_column(column.ok_or_else(missing)?, clients, stream)?
        }
    };
    shards.iter_mut().for_each(|shard| shard.sort_unstable());
    Ok(shards)
}
