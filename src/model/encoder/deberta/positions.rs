//! Relative positions of queries and keys, and their embeddings.

use tch::{Device, Kind, TchError, Tensor};

use crate::model::ModelError;
use crate::model::layers::LayerNorm;

/// How relative positions are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelativePositions {
    /// The most that two positions are told apart by; in buckets, if there are any.
    pub span: i64,
    /// Buckets in each direction. The nearer half of them hold a distance each, the others ever
    /// more.
    pub buckets: Option<i64>,
    /// The distance that falls into the last bucket.
    pub furthest: i64,
}

/// The rows of a table of relative positions that a text needs.
#[derive(Debug)]
pub(crate) struct NeededRows {
    /// The first of them.
    pub first: i64,
    /// How many.
    pub count: i64,
    /// For each query and key, the row of those that are needed, (queries, keys), int64.
    pub rows: Tensor,
}

impl RelativePositions {
    /// The rows for texts of N tokens, of a table with a row for each relative position from
    /// −span to span − 1.
    pub fn rows(self, tokens: i64, device: Device) -> Result<NeededRows, ModelError> {
        let places = Tensor::f_arange(tokens, (Kind::Int64, Device::Cpu))?;
        let relative = places.f_unsqueeze(1)?.f_sub(&places.f_unsqueeze(0)?)?;
        let numbered = match self.buckets {
            Some(buckets) => in_buckets(&relative, buckets, self.furthest)?,
            None => relative,
        };
        // Where few positions are told apart in many buckets, the logarithm skips some of these: a
        // bucket's number may then be higher than the distance.
        let last = numbered.f_max()?.f_int64_value(&[])?;
        let reach = tokens.max(last + 1).min(self.span);
        let first = self.span - reach;
        let rows = numbered.f_add_scalar(self.span)?;
        let rows = rows.f_clamp(0, 2 * self.span - 1)?.f_sub_scalar(first)?;
        Ok(NeededRows {
            first,
            count: 2 * reach,
            rows: rows.f_to_device(device)?,
        })
    }
}

/// The bucket of each relative position: itself up to half the buckets, and from there on by its
/// logarithm. In float32, as transformers computes it.
fn in_buckets(relative: &Tensor, buckets: i64, furthest: i64) -> Result<Tensor, TchError> {
    let middle = buckets / 2;
    let distance = relative.f_abs()?;
    let near = distance.f_le(middle)?;
    let far = distance.f_clamp_min(middle)?.f_to_kind(Kind::Float)?;
    let logarithm = far.f_div_scalar(middle)?.f_log()?;
    let whole = ((furthest - 1) as f64 / middle as f64) as f32;
    let whole = Tensor::f_from_slice(&[whole])?.f_log()?;
    let bucket = logarithm
        .f_div(&whole)?
        .f_mul_scalar(middle - 1)?
        .f_ceil()?;
    let bucket = bucket.f_to_kind(Kind::Int64)?.f_add_scalar(middle)?;
    relative.f_where_self(&near, &bucket.f_mul(&relative.f_sign()?)?)
}

/// Embeddings of relative positions, which all layers have in common.
pub(crate) struct PositionTable {
    /// (2 × span, hidden).
    pub table: Tensor,
    pub norm: Option<LayerNorm>,
}

impl PositionTable {
    /// The rows that are needed, (rows, hidden).
    pub fn rows(&self, needed: &NeededRows) -> Result<Tensor, ModelError> {
        let rows = self.table.f_narrow(0, needed.first, needed.count)?;
        match &self.norm {
            Some(norm) => norm.forward(&rows),
            None => Ok(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(positions: RelativePositions, tokens: i64) -> Vec<i64> {
        let needed = positions.rows(tokens, Device::Cpu).unwrap();
        let first_of_query = needed
            .rows
            .get(tokens - 1)
            .f_add_scalar(needed.first)
            .unwrap();
        let relative = first_of_query.f_sub_scalar(positions.span).unwrap();
        Vec::try_from(relative).unwrap()
    }

    /// `make_log_bucket_position` of transformers 4.57.6 for distances 12 to 0.
    #[test]
    fn far_positions_share_buckets_by_their_logarithm() {
        let positions = RelativePositions {
            span: 8,
            buckets: Some(8),
            furthest: 16,
        };
        let expected = [7, 7, 7, 6, 6, 6, 5, 5, 4, 3, 2, 1, 0];
        assert_eq!(numbers(positions, 13), expected);
    }

    /// `make_log_bucket_position` of transformers 4.57.6 for distances 5 to 0.
    #[test]
    fn a_bucket_that_is_further_than_the_text_is_long_has_its_row() {
        let positions = RelativePositions {
            span: 8,
            buckets: Some(8),
            furthest: 6,
        };
        assert_eq!(numbers(positions, 6), [7, 4, 3, 2, 1, 0]);
        let needed = positions.rows(6, Device::Cpu).unwrap();
        let last = needed.rows.max().int64_value(&[]);
        assert!(last < needed.count, "row {last} of {}", needed.count);
    }

    #[test]
    fn without_buckets_the_furthest_is_the_last_that_is_told_apart() {
        let positions = RelativePositions {
            span: 3,
            buckets: None,
            furthest: 3,
        };
        assert_eq!(numbers(positions, 6), [2, 2, 2, 2, 1, 0]);
        let needed = positions.rows(2, Device::Cpu).unwrap();
        assert_eq!((needed.first, needed.count), (1, 4));
        let rows = Vec::<i64>::try_from(needed.rows.flatten(0, -1)).unwrap();
        assert_eq!(rows, [2, 1, 3, 2]);
    }
}
