//! Pieces of lists of examples.

use rand::seq::SliceRandom;
use regatta_actors::random::Stream;

use crate::data::partition::error::PartitionError;

/// Consecutive pieces whose sizes differ by at most one, the larger ones first, as NumPy's
/// `array_split` makes them.
pub(crate) fn split_evenly(positions: &[u32], pieces: usize) -> Vec<Vec<u32>> {
    let (size, larger) = (positions.len() / pieces, positions.len() % pieces);
    let sizes: Vec<usize> = (0..pieces)
        .map(|piece| size + usize::from(piece < larger))
        .collect();
    split_by_sizes(positions, &sizes)
}

pub(crate) fn shuffled(mut positions: Vec<u32>, stream: &mut Stream) -> Vec<u32> {
    positions.shuffle(stream);
    positions
}

pub(crate) fn check_enough(
    clients: usize,
    examples: usize,
    of: &str,
) -> Result<(), PartitionError> {
    if clients <= examples {
        return Ok(());
    }
    Err(PartitionError::EmptyShard {
        clients,
        examples,
        of: of.to_owned(),
    })
}

/// Consecutive pieces of given sizes.
pub(crate) fn split_by_sizes(positions: &[u32], sizes: &[usize]) -> Vec<Vec<u32>> {
    let mut rest = positions;
    let take = |size: &usize| {
        let (piece, after) = rest.split_at(*size);
        rest = after;
        piece.to_vec()
    };
    sizes.iter().map(take).collect()
}

/// Moves an example from the largest shard into each empty one.
pub(crate) fn fill_empty(shards: &mut [Vec<u32>]) {
    while let Some(empty) = shards.iter().position(Vec::is_empty) {
        let largest = shards.iter_mut().max_by_key(|shard| shard.len());
        let Some(example) = largest.and_then(Vec::pop) else {
            return;
        };
        shards[empty].push(example);
    }
}
