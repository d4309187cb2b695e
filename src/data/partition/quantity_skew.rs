//! Shards of unequal sizes.

use rand::distr::Distribution;
use rand_distr::multi::Dirichlet;
use regatta_actors::random::Stream;

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
