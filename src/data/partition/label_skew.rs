//! Skewed partitions by label: Dirichlet, and some classes a client.

use rand::seq::SliceRandom;
use regatta_actors::random::Stream;

use crate::data::partition::error::PartitionError;
use crate::data::partition::pieces::{
    check_enough, fill_empty, shuffled, split_by_sizes, split_evenly,
};
use crate::data::partition::quantity_skew::dirichlet_sizes;
use crate::data::partition::spec::Partition;

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

/// The examples of each class there is, classes in rising order.
pub(crate) fn groups_by_class(
    spec: &Partition,
    labels: &[f32],
) -> Result<Vec<Vec<u32>>, PartitionError> {
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
