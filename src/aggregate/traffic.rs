//! Bytes of a round, in the form that would be sent.
//!
//! The pretrained model is on every client beforehand. What goes down each round is what the
//! server changed: trained tensors, and each round's residual as thin factors or as a dense delta,
//! whichever is smaller. A client that was away gets the residuals of all rounds that it missed,
//! or one dense delta in their place.

use crate::adapter::population::LayerGroup;

const FLOAT: u64 = size_of::<f32>() as u64;

/// Residuals merged so far, by round and layer group.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResidualHistory {
    /// The rank of each group's residual after each round, from round 1; `None`: nothing merged.
    ranks: Vec<Vec<Option<i64>>>,
}

impl ResidualHistory {
    /// Records what was merged after a round; rounds that are left out merged nothing.
    pub fn push(&mut self, round: u32, ranks: Vec<Option<i64>>) {
        self.ranks
            .resize(round.saturating_sub(1) as usize, Vec::new());
        self.ranks.push(ranks);
    }

    /// Bytes of the residuals merged after the rounds from `since` on (the first is 1).
    #[must_use]
    pub fn bytes_since(&self, since: u32, groups: &[LayerGroup]) -> u64 {
        let missed = self
            .ranks
            .get(since.saturating_sub(1) as usize..)
            .unwrap_or(&[]);
        let group_bytes = |(i, group): (usize, &LayerGroup)| {
            let ranks = missed
                .iter()
                .filter_map(|ranks| ranks.get(i).copied().flatten());
            let rank: i64 = ranks.sum();
            let factors = rank * (group.d_out + group.d_in);
            let dense = group.d_out * group.d_in;
            (factors.min(dense) * group.len()) as u64 * FLOAT
        };
        groups.iter().enumerate().map(group_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::linear_layer::{LinearLayer, WeightLayout};

    fn groups() -> Vec<LayerGroup> {
        let layer = |i| LinearLayer {
            module: format!("l{i}"),
            layer: i,
            d_in: 20,
            d_out: 30,
            layout: WeightLayout::OutIn,
        };
        LayerGroup::of(&[layer(0), layer(1)])
    }

    #[test]
    fn residuals_travel_as_factors_until_the_dense_delta_is_smaller() {
        let mut history = ResidualHistory::default();
        history.push(1, vec![Some(5)]);
        // 5 · (20 + 30) floats of 4 bytes in each of two layers, against 20 · 30.
        assert_eq!(history.bytes_since(1, &groups()), 2 * 4 * 250);
        history.push(2, vec![Some(9)]);
        assert_eq!(history.bytes_since(2, &groups()), 2 * 4 * 450);
        assert_eq!(history.bytes_since(1, &groups()), 2 * 4 * 600);
        assert_eq!(history.bytes_since(3, &groups()), 0);
    }
}
