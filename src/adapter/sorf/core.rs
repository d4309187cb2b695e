//! What the server's work on SORF-VeRA comes down to.
//!
//! With `A = L Q`, the rows of Q orthonormal, and S orthogonal, `Γ(b) B Λ L` has the singular
//! values, norms and distances of `S Γ(b) B Λ A`, and is (d_out, r) instead of (d_out, d_in).

use tch::{Device, Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::population::{LayerGroup, WeightedUpdates};
use crate::adapter::sorf::{SorfVera, mean_lambda, turned};
use crate::model::ModelError;

/// The constants of a group of layers, in float64.
#[derive(Debug)]
pub struct Core {
    /// B, (d_out, r).
    pub b: Tensor,
    /// L of `A = L Q`, (r, r), lower triangular.
    pub l: Tensor,
}

impl Core {
    /// Of an adapter's A and B for layers of this shape.
    ///
    /// # Errors
    /// If the device fails.
    pub fn of(sorf: &SorfVera, group: &LayerGroup, device: Device) -> Result<Self, ModelError> {
        let (d_out, d_in) = (group.d_out, group.d_in);
        let (a, b) = sorf.projection.slices(d_out, d_in, Kind::Double, device)?;
        Self::new(&a, b)
    }

    /// Of A, (r, d_in) and of full rank, and B, (d_out, r).
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(a: &Tensor, b: Tensor) -> Result<Self, ModelError> {
        let (_, r) = Tensor::f_linalg_qr(&a.f_tr()?, "r")?;
        Ok(Self { b, l: r.f_tr()? })
    }

    /// Factors of `Γ(b) B Λ̄ L`: of rank r, however many the clients.
    ///
    /// # Errors
    /// If a tensor is missing or the device fails.
    pub fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError> {
        let lambda = mean_lambda(group, updates, self.l.size()[0])?;
        Ok(Factors {
            left: turned(&self.b, group, updates)?,
            right: lambda.f_matmul(&self.l)?,
        })
    }

    /// The same constants for another thread.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            b: self.b.shallow_clone(),
            l: self.l.shallow_clone(),
        }
    }
}
