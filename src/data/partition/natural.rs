//! A client for each value of a column.

use regatta_actors::random::Stream;

use crate::data::partition::error::PartitionError;
use crate::data::partition::pieces;
use crate::data::split::CategoricalColumn;

/// Gives every client one value's examples, values in alphabetical order: with more clients than
/// values several clients share one, with fewer a client takes several, the greatest first and
/// each to the client with the fewest.
pub(crate) fn by_column(
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
        pieces::check_enough(holders.len(), group.len(), &of)?;
        let parts = pieces::split_evenly(&pieces::shuffled(group, stream), holders.len());
        holders
            .into_iter()
            .zip(parts)
            .for_each(|(client, part)| shards[client] = part);
    }
    Ok(shards)
}

/// Puts whole groups into shards, the greatest group first, each into the smallest shard.
pub(crate) fn pack(groups: impl Iterator<Item = Vec<u32>>, clients: usize) -> Vec<Vec<u32>> {
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
