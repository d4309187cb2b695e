//! The layers that models are made of.

use std::rc::Rc;

use tch::Tensor;

use crate::base::torch;
use crate::model::ModelError;
use crate::model::delta::Delta;
use crate::model::dropout::Masks;
use crate::model::weights::View;

/// `y = x Wᵀ + bias`, plus what an adapter adds.
///
/// # Shapes
/// `x` (…, d_in), `W` (d_out, d_in), `bias` (d_out), `y` (…, d_out).
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    delta: Option<Rc<dyn Delta>>,
    /// See [`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics).
    reference_numerics: bool,
}

impl Linear {
    /// The layer at `view`, with the adapter that attaches there. `reference_numerics`: whether it
    /// is computed as other programs compute it.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(
        view: &View<'_>,
        d_in: i64,
        d_out: i64,
        reference_numerics: bool,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            weight: view.get("weight", &[d_out, d_in])?,
            bias: view.get("bias", &[d_out])?,
            delta: view.delta(),
            reference_numerics,
        })
    }

    /// The layer's output.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let y = if self.reference_numerics {
            x.f_linear(&self.weight, Some(&self.bias))?
        } else {
            torch::kernels::linear(x, &self.weight, &self.bias)?
        };
        match &self.delta {
            Some(delta) => Ok(y.f_add(&delta.forward(x, masks)?)?),
            None => Ok(y),
        }
    }
}

/// Layer normalisation over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// The layer at `view`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, width: i64, eps: f64) -> Result<Self, ModelError> {
        let (weight, bias) = (view.get("weight", &[width])?, view.get("bias", &[width])?);
        Ok(Self { weight, bias, eps })
    }

    /// The layer's output, of the shape of `x`.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let width = self.weight.size();
        Ok(x.f_layer_norm(&width, Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}

/// Rows of a table by index.
pub struct Embedding {
    table: Tensor,
}

impl Embedding {
    /// The table at `view`, of `rows` rows.
    ///
    /// # Errors
    /// If the tensor is missing or of another shape.
    pub fn new(view: &View<'_>, rows: i64, width: i64) -> Result<Self, ModelError> {
        Ok(Self {
            table: view.get("weight", &[rows, width])?,
        })
    }

    /// The number of rows of the table.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.table.size().first().copied().unwrap_or(0)
    }

    /// The rows: (…) of integers to (…, width).
    ///
    /// # Errors
    /// If an index is outside the table.
    pub fn forward(&self, indices: &Tensor) -> Result<Tensor, ModelError> {
        Ok(Tensor::f_embedding(&self.table, indices, -1, false, false)?)
    }
}
