//! The change to a frozen linear layer.

use tch::{TchError, Tensor};

use crate::model::ModelError;
use crate::model::dropout::Masks;

/// The change that an adapter makes to one layer's output.
pub trait Delta {
    /// `s ΔW dropout(x)`: (…, d_in) to (…, d_out). Drops out in training only.
    ///
    /// # Errors
    /// If libtorch fails.
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError>;

    /// The change as a product of two thin matrices, where that is all that it is.
    fn thin_product(&self) -> Option<ThinProduct<'_>> {
        None
    }

    /// Whether both matrices of [`Delta::low_rank`] are what is trained. Otherwise one at least is computed
    /// from that, and the gradients by whole matrices are products that [`Delta::forward`] does without.
    fn trains_factors(&self) -> bool {
        let product = self.thin_product();
        product.is_some_and(|product| product.vectors.is_none())
    }

    /// The change as a product of two matrices, if it is one.
    ///
    /// # Errors
    /// If libtorch fails.
    fn low_rank(&self) -> Result<Option<LowRankChange>, ModelError> {
        let product = self.thin_product();
        Ok(product.map(|product| product.change()).transpose()?)
    }

    /// Called after each backward pass, before the optimiser's step: an adapter that
    /// differentiates a part of itself by hand adds that part's gradient here.
    ///
    /// # Errors
    /// If libtorch fails.
    fn finish_backward(&self) -> Result<(), ModelError> {
        Ok(())
    }
}

/// `s diag(o) B diag(m) A dropout(x)`.
pub struct ThinProduct<'a> {
    /// A, (r, d_in).
    pub a: &'a Tensor,
    /// B, (d_out, r).
    pub b: &'a Tensor,
    /// m and o, (r) and (d_out), of an adapter that trains these while all clients share A and B.
    pub vectors: Option<(&'a Tensor, &'a Tensor)>,
    /// s.
    pub scaling: f64,
    /// The probability that a value of x is dropped.
    pub dropout: f64,
}

impl ThinProduct<'_> {
    /// The same of two matrices, which have the vectors in them.
    fn change(&self) -> Result<LowRankChange, TchError> {
        let (a, b) = match self.vectors {
            None => (self.a.shallow_clone(), self.b.shallow_clone()),
            Some((middle, outer)) => (
                middle.f_unsqueeze(1)?.f_mul(self.a)?,
                outer.f_unsqueeze(1)?.f_mul(self.b)?,
            ),
        };
        Ok(LowRankChange {
            a,
            b,
            scaling: self.scaling,
            dropout: self.dropout,
        })
    }
}

/// `s B A dropout(x)`, for an operation that computes a layer with it.
pub struct LowRankChange {
    /// A, (r, d_in).
    pub a: Tensor,
    /// B, (d_out, r).
    pub b: Tensor,
    /// s.
    pub scaling: f64,
    /// The probability that a value of x is dropped.
    pub dropout: f64,
}
