//! Several batches in one pass: the batches of clients that are trained together.
//!
//! Their tokens lie side by side, (1, tokens of all batches, width), so that a frozen weight is read
//! once for all of them. What depends on the tokens that belong together — attention, dropout,
//! adapters — is computed batch by batch, (rows, tokens, width), with the very operations of a batch
//! alone. Each batch keeps its own padding, so that it has the same tokens in both.
//!
//! Products of several adapters' base are computed so by Ye et al., *mLoRA: Fine-Tuning LoRA Adapters
//! via Highly-Efficient Pipeline Parallelism in Multiple GPUs*, 2023.

use tch::{TchError, Tensor};

/// The shape of one of several batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Its rows.
    pub rows: i64,
    /// The tokens of a row, padding included.
    pub tokens: i64,
}

impl BatchShape {
    fn len(self) -> i64 {
        self.rows * self.tokens
    }
}

/// The batches, (rows, tokens, width), of what lies side by side, (1, tokens of all, width): all
/// their tokens, or as many of each row.
///
/// They are split off at once, so that their gradients are joined rather than added up.
pub(crate) fn split(x: &Tensor, shapes: &[BatchShape]) -> Result<Vec<Tensor>, TchError> {
    let (_, tokens, width) = x.size3()?;
    let all: i64 = shapes.iter().map(|shape| shape.len()).sum();
    let rows: i64 = shapes.iter().map(|shape| shape.rows).sum();
    let own = |shape: &BatchShape| BatchShape {
        tokens: if tokens == all {
            shape.tokens
        } else {
            tokens / rows.max(1)
        },
        ..*shape
    };
    let shapes: Vec<BatchShape> = shapes.iter().map(own).collect();
    let lengths: Vec<i64> = shapes.iter().map(|shape| shape.len()).collect();
    let parts = x.f_split_with_sizes(lengths, 1)?;
    (parts.iter().zip(&shapes))
        .map(|(part, shape)| part.f_view([shape.rows, shape.tokens, width]))
        .collect()
}

/// Batches, (rows, tokens, width) each, side by side.
pub(crate) fn join(batches: &[Tensor]) -> Result<Tensor, TchError> {
    let flat = |batch: &Tensor| batch.f_flatten(0, 1)?.f_unsqueeze(0);
    let flat: Vec<Tensor> = batches.iter().map(flat).collect::<Result<_, _>>()?;
    Tensor::f_cat(&flat, 1)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const SHAPES: [BatchShape; 2] = [
        BatchShape { rows: 2, tokens: 3 },
        BatchShape { rows: 1, tokens: 2 },
    ];

    #[test]
    fn what_lies_side_by_side_is_split_into_the_batches_that_were_joined() {
        let batches = SHAPES.map(|BatchShape { rows, tokens }| {
            Tensor::randn([rows, tokens, 4], (Kind::Float, Device::Cpu))
        });
        let side_by_side = join(&batches).unwrap();
        assert_eq!(side_by_side.size(), [1, 8, 4]);
        assert_eq!(split(&side_by_side, &SHAPES).unwrap(), batches);
    }

    #[test]
    fn the_first_tokens_of_rows_are_split_like_all_tokens() {
        let first = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([1, 3, 2]);
        let parts = split(&first, &SHAPES).unwrap();
        assert_eq!(parts[0], first.narrow(1, 0, 2).view([2, 1, 2]));
        assert_eq!(parts[1], first.narrow(1, 2, 1));
    }
}
