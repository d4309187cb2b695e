//! Skewed partitions: of labels (Dirichlet, classes) and of quantity.

use rand::distr::Distribution;
use rand::seq::SliceRandom;
use rand_distr::multi::Dirichlet;
use regatta_actors::random::Stream;

use crate::data::partition::{PartitionError, check_enough, shuffled, split_evenly};

/// Label skew after Hsu et al. (2019) and Yurochkin et al. (2019): each class is divided in
/// proportions drawn from Dir(α), small α giving each client few classes. A shard left empty takes
/// an example of the largest.
pub(crate) fn by_dirichlet(
    classes: Vec<Vec<u32>>,
    clients: usize,
    alpha: f64,
    stream: &mut Stream,
) -> Vec<Vec<u32>> {
    let mut shards = vec![Vec::new(); clients];
    for class in classes {
        let sizes = dirichlet_sizes(class.len(), clients, alpha, stream);
        let parts = split_by_sizes(&shuffled(class, stream), &sizes);
        shards
            .iter_mut()
            .zip(parts)
            .for_each(|(shard, part)| shard.extend(part));
    }
    fill_empty(&mut shards);
    shards
}

/// `count` classes a client (McMahan et al., 2017, but without a class counted twice): clients
/// take turns at the classes, in a random order, and each class is divided evenly among its
/// holders.
pub(crate) fn by_classes(
    classes: Vec<Vec<u32>>,
    clients: usize,
    count: usize,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let total = classes.len();
    if count > total {
        return Err(PartitionError::TooManyClasses {
            per_client: count,
            classes: total,
        });
    }
    if clients.saturating_mul(count) < total {
        return Err(PartitionError::ClassLeftOver {
            per_client: count,
            clients,
            classes: total,
        });
    }
    let mut order: Vec<usize> = (0..total).collect();
    order.shuffle(stream);
    let mut holders = vec![Vec::new(); total];
    for turn in 0..clients * count {
        holders[order[turn % total]].push(turn / count);
    }
    let mut shards = vec![Vec::new(); clients];
    for (number, (class, holders)) in classes.into_iter().zip(holders).enumerate() {
        check_enough(holders.len(), class.len(), &format!(" of class {number}"))?;
        let parts = split_evenly(&shuffled(class, stream), holders.len());
        holders
            .into_iter()
            .zip(parts)
            .for_each(|(client, part)| shards[client].extend(part));
    }
    Ok(shards)
}

/// Whole sizes that add up to `total`, in proportions drawn from Dir(α).
pub(crate) fn dirichlet_sizes(
    total: usize,
    clients: usize,
    alpha: f64,
    stream: &mut Stream,
) -> Vec<usize> {
    let Ok(distribution) = Dirichlet::new(&vec![alpha; clients]) else {
        // A single client takes all; so does the first in the limit of an α too small to draw with.
        let mut sizes = vec![0; clients];
        sizes[0] = total;
        return sizes;
    };
    let shares: Vec<f64> = distribution.sample(stream);
    let mut sizes = Vec::with_capacity(clients);
    let (mut cumulated, mut given) = (0.0, 0);
    for share in &shares {
        cumulated += share;
        let end = ((cumulated * total as f64).round() as usize).clamp(given, total);
        sizes.push(end - given);
        given = end;
    }
    // What rounding left.
    sizes[clients - 1] += total - given;
    sizes
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
