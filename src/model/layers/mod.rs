//! The layers that models are made of.

pub mod linear;
pub(crate) mod mlp;
pub(crate) mod query_key_value;
pub mod soft_cap;

use tch::{Kind, Tensor};

use crate::base::torch::device::Autocast;
use crate::base::torch::narrow;
use crate::base::torch::narrow_sequential::{self, FrozenLayer, NarrowActivation, NormBehind};
use crate::base::torch::norms::{FrozenNorm, FrozenRmsNorm, MaskedRows};
use crate::model::ModelError;
use crate::model::dropout::{Masks, TokenMasks};
use crate::model::weights::View;

/// Layer normalisation over the last dimension: Ba et al., *Layer Normalization*, 2016.
pub struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// The layer at `view`, with a bias.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, width: i64, eps: f64) -> Result<Self, ModelError> {
        Self::with_bias(view, width, eps, true)
    }

    /// The layer at `view`, which may have a bias.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn with_bias(
        view: &View<'_>,
        width: i64,
        eps: f64,
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        let weight = view.get("weight", &[width])?;
        let bias = has_bias.then(|| view.get("bias", &[width])).transpose()?;
        Ok(Self { weight, bias, eps })
    }

    /// The layer's output, of the shape of `x`.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let width = self.weight.size();
        let bias = self.bias.as_ref();
        Ok(x.f_layer_norm(&width, Some(&self.weight), bias, self.eps, true)?)
    }

    /// The norm of a residual sum, `dropout(x) + residual`; both and what comes back are of one shape.
    /// On a CPU it is one pass.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn of_residual(
        &self,
        x: &Tensor,
        residual: &Tensor,
        dropout: f64,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let masks = masks_of(x, dropout, masks)?.unwrap_or_else(|| TokenMasks::none(x));
        let fused = self
            .frozen()
            .of_residual(x, residual, &masks.batches, masks.threshold)?;
        match fused {
            Some(y) => Ok(y),
            None => self.forward(&masks.apply(x)?.f_add(residual)?),
        }
    }

    /// The norm of a residual sum with what layers make of `x`, `dropout(layers(x)) + residual`, in one
    /// operation with them; without a residual, of that with `x` itself. `None` where norms are not computed
    /// so, and if this one is trained.
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub(super) fn behind(
        &self,
        x: &Tensor,
        layers: &[FrozenLayer<'_>],
        activation: Option<NarrowActivation>,
        residual: Option<&Tensor>,
        dropout: f64,
        masks: Option<&Masks>,
    ) -> Result<Option<Tensor>, ModelError> {
        let is_trained =
            self.weight.requires_grad() || self.bias.as_ref().is_some_and(Tensor::requires_grad);
        if is_trained || !narrow::is_on(x.device()) {
            return Ok(None);
        }
        let sum = residual.unwrap_or(x);
        let masks = masks_of(sum, dropout, masks)?.unwrap_or_else(|| TokenMasks::none(sum));
        let behind = NormBehind {
            norm: self.frozen(),
            residual,
            masks: MaskedRows {
                batches: &masks.batches,
                threshold: masks.threshold,
            },
        };
        let y = narrow_sequential::forward(x, layers, activation, Some(&behind))?;
        Ok(Some(y))
    }

    /// A residual sum, `dropout(x) + residual`, and its norm; both and what comes back are of one shape.
    /// On a CPU it is one pass.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn with_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        dropout: f64,
        masks: Option<&Masks>,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let masks = masks_of(x, dropout, masks)?.unwrap_or_else(|| TokenMasks::none(x));
        let fused = self
            .frozen()
            .with_sum(x, residual, &masks.batches, masks.threshold)?;
        if let Some((normed, sum)) = fused {
            return Ok((sum, normed));
        }
        let sum = residual.f_add(&masks.apply(x)?)?;
        let normed = self.forward(&sum)?;
        Ok((sum, normed))
    }

    fn frozen(&self) -> FrozenNorm<'_> {
        FrozenNorm {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            eps: self.eps,
        }
    }
}

/// The next masks of values that are added to a residual, unless nothing is dropped.
fn masks_of(
    x: &Tensor,
    dropout: f64,
    masks: Option<&Masks>,
) -> Result<Option<TokenMasks>, ModelError> {
    let masks = masks.filter(|_| dropout > 0.0);
    let drawn = masks.map(|masks| masks.next_of_tokens(x, dropout));
    Ok(drawn.transpose()?)
}

/// Division by the root mean square over the last dimension, in float32: Zhang and Sennrich, *Root
/// Mean Square Layer Normalization*, 2019.
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
    scale: NormScale,
}

/// What the normed values are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormScale {
    /// The weight.
    Weight,
    /// 1 and the weight, before values are rounded to a narrower kind.
    OneAndWeight,
}

impl RmsNorm {
    /// The layer at `view`.
    ///
    /// # Errors
    /// If the tensor is missing or of another shape.
    pub fn new(view: &View<'_>, width: i64, eps: f64) -> Result<Self, ModelError> {
        Self::scaled(view, width, eps, NormScale::Weight)
    }

    /// The layer at `view`, whose weight is to be read as this scale.
    ///
    /// # Errors
    /// If the tensor is missing or of another shape.
    pub fn scaled(
        view: &View<'_>,
        width: i64,
        eps: f64,
        scale: NormScale,
    ) -> Result<Self, ModelError> {
        let weight = view.get("weight", &[width])?;
        Ok(Self { weight, eps, scale })
    }

    /// The layer's output, of the shape of `x`. On a CPU whose products are in bfloat16 it is in that, as
    /// what reads it would round it.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let norm = FrozenRmsNorm {
            weight: &self.weight,
            eps: self.eps,
            offset: match self.scale {
                NormScale::Weight => 0.0,
                NormScale::OneAndWeight => 1.0,
            },
        };
        let narrow = Autocast::kind(x.device()) == Some(Kind::BFloat16);
        match norm.forward(x, narrow)? {
            Some(y) => Ok(y),
            None => self.by_libtorch(x),
        }
    }

    fn by_libtorch(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let wide = x.f_to_kind(Kind::Float)?;
        let square = wide.f_mul(&wide)?.f_mean_dim(-1, true, Kind::Float)?;
        let normed = wide.f_mul(&square.f_add_scalar(self.eps)?.f_rsqrt()?)?;
        Ok(match self.scale {
            NormScale::Weight => normed.f_to_kind(x.kind())?.f_mul(&self.weight)?,
            NormScale::OneAndWeight => {
                let factor = self.weight.f_to_kind(Kind::Float)?.f_add_scalar(1.0)?;
                normed.f_mul(&factor)?.f_to_kind(x.kind())?
            }
        })
    }
}

/// The norm that a model has.
pub enum Norm {
    /// Layer normalisation.
    Layer(LayerNorm),
    /// Division by the root mean square.
    Rms(RmsNorm),
}

impl Norm {
    /// The layer's output, of the shape of `x`.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
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
