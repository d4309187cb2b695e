//! Several batches in one pass: the batches of clients that are trained together.
//!
//! Their tokens lie side by side, (1, tokens of all batches, width), so that a frozen weight is read
//! once for all of them. What depends on the tokens that belong together is each batch's own: dropout
//! and attention draw from its own keys, and adapters are multiplied by the tokens of their own batch
//! ([`joint_delta`](super::joint_delta)). Each batch keeps its own padding, so that it has the same
//! tokens in both.
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
    pub(crate) fn len(self) -> i64 {
        self.rows * self.tokens
    }
}

/// The shapes of batches in what lies side by side, (1, tokens of all, width): all their tokens, or as
/// many of each row.
pub(crate) fn shapes_in(x: &Tensor, shapes: &[BatchShape]) -> Result<Vec<BatchShape>, TchError> {
    let (_, tokens, _) = x.size3()?;
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
    Ok(shapes.iter().map(own).collect())
}

/// The batches, (rows, tokens, width), of what lies side by side, (1, tokens of all, width): all
/// their tokens, or as many of each row.
///
/// They are split off at once, so that their gradients are joined rather than added up.
pub(crate) fn split(x: &Tensor, shapes: &[BatchShape]) -> Result<Vec<Tensor>, TchError> {
    let (_, _, width) = x.size3()?;
    let shapes = shapes_in(x, shapes)?;
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

/// Where the tokens of batches lie that have a product each: side by side, or apart, (batches, tokens of
/// the largest, width).
#[derive(Debug)]
pub(crate) struct TokenPlaces {
    /// The batch of each token, (tokens of all).
    pub batch_of_token: Tensor,
    batches: i64,
    largest: i64,
    /// For each place apart, a token that lies side by side: of places beyond a batch, its first. And for
    /// each token, its place apart. `None` where all batches are equally large.
    moved: Option<(Tensor, Tensor)>,
}

impl TokenPlaces {
    /// The places of what lies side by side.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(x: &Tensor, shapes: &[BatchShape]) -> Result<Self, TchError> {
        let shapes = shapes_in(x, shapes)?;
        let lengths = || shapes.iter().map(|shape| shape.len());
        let largest = lengths().max().unwrap_or(0);
        let on_device = |places: &[i64]| Tensor::f_from_slice(places)?.f_to_device(x.device());
        let (mut batch_of_token, mut apart, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (batch, length) in (0..).zip(lengths()) {
            batch_of_token.extend((0..length).map(|_| batch));
            apart.extend((0..largest).map(|at| start + if at < length { at } else { 0 }));
            back.extend((0..length).map(|at| batch * largest + at));
            start += length;
        }
        let moved = lengths().any(|length| length != largest);
        let moved = moved.then(|| Ok::<_, TchError>((on_device(&apart)?, on_device(&back)?)));
        Ok(Self {
            batch_of_token: on_device(&batch_of_token)?,
            batches: shapes.len() as i64,
            largest,
            moved: moved.transpose()?,
        })
    }

    /// What lies side by side, apart. What is in places beyond a batch has no meaning.
    pub fn apart(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (_, _, width) = x.size3()?;
        let flat = x.f_view([-1, width])?;
        let flat = match &self.moved {
            Some((apart, _)) => flat.f_index_select(0, apart)?,
            None => flat,
        };
        flat.f_view([self.batches, self.largest, width])
    }

    /// What lies apart, side by side.
    pub fn side_by_side(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let flat = x.f_flatten(0, 1)?;
        let flat = match &self.moved {
            Some((_, back)) => flat.f_index_select(0, back)?,
            None => flat,
        };
        flat.f_unsqueeze(0)
    }
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

    #[test]
    fn what_was_put_apart_lies_side_by_side_again() {
        for shapes in [SHAPES, [SHAPES[1]; 2]] {
            let tokens = shapes.iter().map(|shape| shape.len()).sum::<i64>();
            let x = Tensor::randn([1, tokens, 4], (Kind::Float, Device::Cpu));
            let places = TokenPlaces::new(&x, &shapes).unwrap();
            let apart = places.apart(&x).unwrap();
            assert_eq!(apart.size()[0], 2);
            let own = split(&x, &shapes).unwrap();
            let second = apart.get(1).narrow(0, 0, shapes[1].len());
            assert_eq!(second, own[1].view([-1, 4]));
            assert_eq!(places.side_by_side(&apart).unwrap(), x);
        }
    }
}
