//! The ideal update of a round, in as little memory as its shape allows.

use tch::{Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::population::LayerGroup;
use crate::aggregate::Round;
use crate::model::ModelError;

/// `Σ pᵢ s ΔWᵢ` for a group of layers, or what is left of it when an update is taken off.
#[derive(Debug)]
pub enum ExactUpdate {
    /// As thin factors.
    Thin(Factors),
    /// As a sum, (L, d_out, d_in), where the factors of that many clients would be larger; with the
    /// rank that these have.
    Dense(Tensor, i64),
}

impl ExactUpdate {
    /// The ideal update of a round. The factors of many clients are multiplied out some clients at
    /// a time, so that memory does not grow with their number.
    ///
    /// # Errors
    /// When a tensor is missing or the device fails.
    pub fn of(round: &Round<'_>, group: &LayerGroup) -> Result<Self, ModelError> {
        let clients = round.updates.updates.len();
        let rank = |updates| round.adapter.rank(group, updates);
        let (one, all) = (rank(1), rank(clients));
        let most = group.d_out * group.d_in / (group.d_out + group.d_in);
        if all <= most || all <= one {
            return Ok(Self::Thin(round.ideal(group)?));
        }
        let mut sum = None;
        for some in round.updates.chunks((most / one).max(1) as usize) {
            let product = round.adapter.factors(group, &some)?.product()?;
            sum = Some(match sum {
                None => product,
                Some(mut sum) => Tensor::f_add_(&mut sum, &product)?,
            });
        }
        let nothing = || {
            let shape = [group.len(), group.d_out, group.d_in];
            Tensor::f_zeros(shape, (Kind::Double, round.updates.device))
        };
        Ok(Self::Dense(sum.map_or_else(nothing, Ok)?, all))
    }

    /// What an update misses of this.
    ///
    /// # Errors
    /// When the device fails.
    pub fn minus(&self, update: &Factors) -> Result<Self, ModelError> {
        Ok(match self {
            Self::Thin(factors) => Self::Thin(factors.minus(update)?),
            Self::Dense(sum, rank) => {
                Self::Dense(sum.f_sub(&update.product()?)?, rank + update.rank())
            }
        })
    }

    /// The squared Frobenius norm over all layers together; see [`Factors::squared_norm`].
    ///
    /// # Errors
    /// When the device fails.
    pub fn squared_norm(&self) -> Result<f64, ModelError> {
        match self {
            Self::Thin(factors) => factors.squared_norm(),
            Self::Dense(sum, _) => {
                let squares = sum.f_mul(sum)?.f_sum(Kind::Double)?;
                Ok(squares.f_double_value(&[])?)
            }
        }
    }

    /// The dense update, (L, d_out, d_in).
    ///
    /// # Errors
    /// When the device fails.
    pub fn product(&self) -> Result<Tensor, ModelError> {
        match self {
            Self::Thin(factors) => factors.product(),
            Self::Dense(sum, _) => Ok(sum.shallow_clone()),
        }
    }

    /// The rank of the factors.
    #[must_use]
    pub fn rank(&self) -> i64 {
        match self {
            Self::Thin(factors) => factors.rank(),
            Self::Dense(_, rank) => *rank,
        }
    }
}
