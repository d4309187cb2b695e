//! Attention where a row has several texts: each attends to itself alone, in time that is quadratic
//! in its own length and not the row's.

use tch::{TchError, Tensor};

use crate::model::decoder::attention::CausalAttention;
use crate::model::documents::Documents;
use crate::model::dropout::DropoutMask;

/// The attended values, (rows, heads, tokens, width), 0 for padding. `mask` gives each text the
/// dropout mask of its probabilities.
pub(crate) fn attend(
    attention: &CausalAttention<'_>,
    documents: &Documents,
    mut mask: impl FnMut() -> Result<Option<DropoutMask>, TchError>,
) -> Result<Tensor, TchError> {
    let tokens = attention.query.size()[2];
    let parts = |x: &Tensor| split_texts(x, documents, tokens);
    let (queries, keys, values) = (
        parts(attention.query)?,
        parts(attention.key)?,
        parts(attention.value)?,
    );
    let mut rows = Vec::new();
    for (row, lengths) in documents.rows().iter().enumerate() {
        let mut texts = Vec::new();
        for text in 0..lengths.len() {
            let own = CausalAttention {
                query: &queries[row][text],
                key: &keys[row][text],
                value: &values[row][text],
                scoring: attention.scoring,
            };
            texts.push(own.attend(mask()?)?);
        }
        // The rest of the row, if there is one.
        let padding = queries[row].get(lengths.len());
        texts.extend(padding.map(Tensor::f_zeros_like).transpose()?);
        rows.push(Tensor::f_cat(&texts, 2)?);
    }
    Tensor::f_cat(&rows, 0)
}

/// The texts of each row, (1, heads, length, width), and what is left of it. All parts of a tensor
/// are views that are split off at once: their gradients are joined rather than added.
fn split_texts(
    x: &Tensor,
    documents: &Documents,
    tokens: i64,
) -> Result<Vec<Vec<Tensor>>, TchError> {
    let rows = x.f_split(1, 0)?;
    let rows = rows.iter().zip(documents.rows());
    rows.map(|(row, lengths)| {
        let left = tokens - lengths.iter().sum::<i64>();
        let left = Some(left).filter(|left| *left > 0);
        let lengths: Vec<i64> = lengths.iter().copied().chain(left).collect();
        row.f_split_with_sizes(lengths, 2)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::model::decoder::attention::Scoring;

    /// Queries, keys and values of two rows of seven tokens.
    fn inputs(kind: Kind) -> [Tensor; 3] {
        let values = |heads: i64, step: f64| {
            let count = Tensor::arange(2 * heads * 7 * 16, (Kind::Double, Device::Cpu));
            let values = ((count * step).sin() * 2.0).reshape([2, heads, 7, 16]);
            values.to_kind(kind).set_requires_grad(true)
        };
        [values(4, 0.7), values(2, 1.1), values(2, 1.9)]
    }

    fn attention([query, key, value]: &[Tensor; 3]) -> CausalAttention<'_> {
        let scoring = Scoring::default();
        CausalAttention {
            query,
            key,
            value,
            scoring,
        }
    }

    /// By its definition: a mask over the whole row.
    fn masked(inputs: &[Tensor; 3], documents: &Documents) -> Tensor {
        let [query, key, value] = inputs;
        let each = |x: &Tensor| x.repeat_interleave_self_int(2, 1, None);
        let scores = query.matmul(&each(key).transpose(2, 3)) / 4.0;
        let mut visible = vec![false; 2 * 7 * 7];
        for (row, lengths) in documents.rows().iter().enumerate() {
            let mut start = 0;
            for length in lengths {
                for at in start..start + length {
                    let first = row * 49 + at as usize * 7;
                    visible[first + start as usize..=first + at as usize].fill(true);
                }
                start += length;
            }
        }
        let visible = Tensor::from_slice(&visible).reshape([2, 1, 7, 7]);
        let scores = scores.masked_fill(&visible.logical_not(), f64::NEG_INFINITY);
        scores
            .softmax(-1, None)
            .nan_to_num(0.0, None, None)
            .matmul(&each(value))
    }

    fn gradients(inputs: &[Tensor; 3], attended: &Tensor) -> Vec<Tensor> {
        let weights = Tensor::arange(attended.numel() as i64, (Kind::Double, Device::Cpu)).sin();
        let weights = weights.reshape(attended.size()).to_kind(attended.kind());
        (attended * weights).sum(None).backward();
        inputs.iter().map(Tensor::grad).collect()
    }

    #[test]
    fn each_text_attends_as_by_a_mask_over_the_row_and_so_do_its_gradients() {
        let documents = Documents::new(vec![vec![3, 4], vec![1, 4]]);
        let (exact, found) = (inputs(Kind::Double), inputs(Kind::Float));
        let expected = masked(&exact, &documents);
        let attended = attend(&attention(&found), &documents, || Ok(None)).unwrap();
        let mut pairs = vec![(attended.shallow_clone(), expected.shallow_clone())];
        let by_mask = gradients(&exact, &expected);
        pairs.extend(gradients(&found, &attended).into_iter().zip(by_mask));
        for (at, (found, exact)) in pairs.iter().enumerate() {
            let miss = (found - exact).abs().max().double_value(&[]);
            assert!(miss < 1e-5, "tensor {at} misses by {miss:e}");
        }
    }

    #[test]
    fn each_text_has_its_own_dropout_mask() {
        let documents = Documents::new(vec![vec![7], vec![3, 3]]);
        let mut seeds = 0..;
        let mut drawn = Vec::new();
        let attended = attend(&attention(&inputs(Kind::Float)), &documents, || {
            let mask = DropoutMask {
                seed: seeds.next().unwrap(),
                threshold: 6554,
            };
            drawn.push(mask.seed);
            Ok(Some(mask))
        })
        .unwrap();
        assert_eq!(attended.size(), [2, 4, 7, 16]);
        assert_eq!(drawn, [0, 1, 2]);
    }
}
