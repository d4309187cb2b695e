//! The layers that models are made of.

pub(crate) mod query_key_value;
pub mod soft_cap;

use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::base::torch;
use crate::base::torch::device::Autocast;
use crate::base::torch::low_rank::{self, LowRank};
use crate::base::torch::narrow::{self, PackedWeight};
use crate::base::torch::narrow_layers::{self, NarrowLayer};
use crate::base::torch::norms::{FrozenNorm, FrozenRmsNorm};
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::delta::{Delta, LowRankChange};
use crate::model::dropout::{DropoutMask, Masks, TokenMasks, next_mask};
use crate::model::linear_layer::WeightLayout;
use crate::model::quantised::held::HeldWeight;
use crate::model::weights::View;

/// What a linear layer is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearSpec {
    /// Width of its input.
    pub d_in: i64,
    /// Width of its output.
    pub d_out: i64,
    /// Whether it has a bias.
    pub bias: bool,
    /// How its weight lies.
    pub layout: WeightLayout,
    /// See [`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics).
    pub reference_numerics: bool,
}

impl LinearSpec {
    /// A layer with a bias whose weight is (d_out, d_in).
    #[must_use]
    pub fn new(d_in: i64, d_out: i64, reference_numerics: bool) -> Self {
        Self {
            d_in,
            d_out,
            bias: true,
            layout: WeightLayout::OutIn,
            reference_numerics,
        }
    }
}

/// `y = x Wᵀ + bias`, plus what an adapter adds.
///
/// # Shapes
/// `x` (…, d_in), `W` (d_out, d_in), `bias` (d_out), `y` (…, d_out).
pub struct Linear {
    weight: LinearWeight,
    /// The weight for products in bfloat16, if it is packed for them.
    packed: Option<PackedWeight>,
    bias: Option<Tensor>,
    delta: Option<Rc<dyn Delta>>,
    reference_numerics: bool,
}

/// What an adapter adds, with the key of its mask.
struct KeyedChange {
    change: LowRankChange,
    mask: DropoutMask,
}

impl KeyedChange {
    fn new(change: LowRankChange, masks: Option<&Masks>) -> Result<Self, ModelError> {
        let mask = next_mask(change.dropout, masks)?.unwrap_or_default();
        Ok(Self { change, mask })
    }

    fn low_rank(&self) -> LowRank<'_> {
        LowRank {
            a: &self.change.a,
            b: &self.change.b,
            scaling: self.change.scaling,
            seed: self.mask.seed,
            threshold: self.mask.threshold,
        }
    }
}

enum LinearWeight {
    /// (d_out, d_in), however it lies.
    Dense(Tensor),
    /// Frozen, in fewer bits.
    Quantised(HeldWeight),
}

impl Linear {
    /// The layer at `view`, with the adapter that attaches there.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, spec: &LinearSpec) -> Result<Self, ModelError> {
        let (d_in, d_out) = (spec.d_in, spec.d_out);
        let shape = match spec.layout {
            WeightLayout::OutIn => [d_out, d_in],
            WeightLayout::InOut => [d_in, d_out],
        };
        let weight = match (view.quantised("weight", &shape)?, spec.layout) {
            (Some(held), _) => LinearWeight::Quantised(held),
            (None, WeightLayout::OutIn) => LinearWeight::Dense(view.get("weight", &shape)?),
            (None, WeightLayout::InOut) => {
                LinearWeight::Dense(view.get("weight", &shape)?.f_transpose(0, 1)?)
            }
        };
        let bias = spec.bias.then(|| view.get("bias", &[d_out])).transpose()?;
        let is_trained = bias.as_ref().is_some_and(Tensor::requires_grad);
        Ok(Self {
            weight,
            packed: view.packed("weight").filter(|_| !is_trained),
            bias,
            delta: view.delta(),
            reference_numerics: spec.reference_numerics,
        })
    }

    /// The layer's output.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        if let Some([y]) = Self::forward_together([self], x, masks)? {
            return Ok(y);
        }
        if let Some(y) = self.with_change(x, masks)? {
            return Ok(y);
        }
        let y = match self.packed_for(x) {
            Some(packed) => packed.linear(x, self.bias.as_ref())?,
            None => self.product(x)?,
        };
        self.changed(y, x, masks)
    }

    /// What the frozen layer makes of `x`, with what its adapter adds.
    fn changed(&self, y: Tensor, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        match &self.delta {
            Some(delta) => Ok(y.f_add(&delta.forward(x, masks)?)?),
            None => Ok(y),
        }
    }

    /// The output of the layer and of its change in one operation, in float32 where there is one for them.
    fn with_change(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Option<Tensor>, ModelError> {
        let bias = self.bias.as_ref();
        // Of others than LoRA, the gradients of whole factors would cost more than one operation saves.
        let suits = |weight: &&Tensor| low_rank::suits(x, weight, bias);
        let delta = self.delta.as_ref().filter(|delta| delta.trains_factors());
        let (Some(delta), Some(weight)) = (delta, self.dense().filter(suits)) else {
            return Ok(None);
        };
        let Some(change) = delta.low_rank()? else {
            return Ok(None);
        };
        let change = KeyedChange::new(change, masks)?;
        let y = low_rank::linear_with(x, weight, bias, &change.low_rank())?;
        Ok(Some(y))
    }

    /// What layers, and their changes, make of one input in one operation, where they are packed.
    fn forward_together<const N: usize>(
        layers: [&Self; N],
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Option<[Tensor; N]>, ModelError> {
        let packed = layers.map(|layer| layer.packed_for(x));
        if packed.iter().any(Option::is_none) {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(N);
        for layer in layers {
            let change = layer.delta.as_ref().map(|delta| delta.low_rank());
            match change.transpose()? {
                Some(None) => return Ok(None),
                change => found.push(change.flatten()),
            }
        }
        let keyed = |change: Option<LowRankChange>| {
            let change = change.map(|change| KeyedChange::new(change, masks));
            change.transpose()
        };
        let changes: Vec<_> = found.into_iter().map(keyed).collect::<Result<_, _>>()?;
        let mut parts = Vec::with_capacity(N);
        for ((layer, weight), change) in layers.iter().zip(packed).zip(&changes) {
            parts.extend(weight.map(|weight| NarrowLayer {
                weight,
                bias: layer.bias.as_ref(),
                change: change.as_ref().map(KeyedChange::low_rank),
            }));
        }
        match <[NarrowLayer<'_>; N]>::try_from(parts) {
            Ok(parts) => Ok(Some(narrow_layers::forward(x, parts)?)),
            Err(_) => Ok(None),
        }
    }

    /// The weight, where products with it need not be taken as other programs take them.
    fn dense(&self) -> Option<&Tensor> {
        match &self.weight {
            LinearWeight::Dense(weight) if !self.reference_numerics => Some(weight),
            _ => None,
        }
    }

    /// An activation of the layer's output.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward_activated(
        &self,
        x: &Tensor,
        activation: Activation,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        if let Some(packed) = self.packed_for(x)
            && let Some(activation) = activation.in_bfloat16()
            && self.delta.is_none()
        {
            return Ok(packed.linear_activated(x, self.bias.as_ref(), activation)?);
        }
        Ok(activation.forward(&self.forward(x, masks)?)?)
    }

    /// The packed weight, where it is what `x` is multiplied by.
    fn packed_for(&self, x: &Tensor) -> Option<&PackedWeight> {
        self.packed.as_ref().filter(|_| narrow::is_on(x.device()))
    }

    /// `x Wᵀ + bias` by libtorch.
    fn product(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let bias = self.bias.as_ref();
        Ok(match &self.weight {
            LinearWeight::Dense(weight) if self.reference_numerics => x.f_linear(weight, bias)?,
            LinearWeight::Dense(weight) => torch::kernels::linear(x, weight, bias)?,
            LinearWeight::Quantised(weight) => weight.linear(x, bias, !self.reference_numerics)?,
        })
    }
}

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
    /// On a CPU it is one pass, but in float32 only where something is dropped: see
    /// [`Architecture::reference_numerics`](crate::model::architecture::Architecture::reference_numerics).
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
        let masks = masks_of(x, dropout, masks)?;
        let is_fused = masks.is_some() || narrow::is_on(x.device());
        let masks = masks.unwrap_or_else(|| TokenMasks::none(x));
        if is_fused
            && let Some(y) =
                self.frozen()
                    .of_residual(x, residual, &masks.batches, masks.threshold)?
        {
            return Ok(y);
        }
        self.forward(&masks.apply(x)?.f_add(residual)?)
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
