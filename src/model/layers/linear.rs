//! A linear layer, where adapters attach.

use std::rc::Rc;

use tch::Tensor;

use crate::base::torch;
use crate::base::torch::low_rank::{self, LowRank};
use crate::base::torch::narrow::{self, PackedWeight};
use crate::base::torch::narrow_layers::{self, NarrowLayer};
use crate::base::torch::narrow_sequential::FrozenLayer;
use crate::model::ModelError;
use crate::model::delta::{Delta, LowRankChange};
use crate::model::dropout::{DropoutMask, Masks, next_mask};
use crate::model::layers::LayerNorm;
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
}

impl LinearSpec {
    /// A layer with a bias whose weight is (d_out, d_in).
    #[must_use]
    pub fn new(d_in: i64, d_out: i64) -> Self {
        Self {
            d_in,
            d_out,
            bias: true,
            layout: WeightLayout::OutIn,
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
        })
    }

    /// A frozen layer of a weight, (d_out, d_in), without an adapter.
    pub(super) fn of(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            weight: LinearWeight::Dense(weight),
            packed: None,
            bias,
            delta: None,
        }
    }

    /// The layer's output.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        if let Some(([y], _)) = Self::forward_together([self], x, masks)? {
            return Ok(y);
        }
        if let Some(y) = self.with_change(x, masks)? {
            return Ok(y);
        }
        let y = match self.packed_for(x) {
            Some(packed) => FrozenLayer(packed, self.bias.as_ref()).forward(x)?,
            None => self.product(x)?,
        };
        self.changed(y, x, masks)
    }

    /// What the frozen layer makes of `x`, with what its adapter adds.
    pub(super) fn changed(
        &self,
        y: Tensor,
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
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

    /// What layers, and their changes, make of one input in one operation, where they are packed; and the
    /// input, for what reads it besides.
    pub(crate) fn forward_together<const N: usize>(
        layers: [&Self; N],
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<Option<([Tensor; N], Tensor)>, ModelError> {
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

    /// The weight, unless it is held in fewer bits.
    fn dense(&self) -> Option<&Tensor> {
        match &self.weight {
            LinearWeight::Dense(weight) => Some(weight),
            LinearWeight::Quantised(_) => None,
        }
    }

    /// `norm(dropout(output) + residual)`.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_normed(
        &self,
        x: &Tensor,
        residual: &Tensor,
        norm: &LayerNorm,
        dropout: f64,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        if let Some(layer) = self.frozen_for(x)
            && let Some(y) = norm.behind(x, &[layer], None, Some(residual), dropout, masks)?
        {
            return Ok(y);
        }
        norm.of_residual(&self.forward(x, masks)?, residual, dropout, masks)
    }

    /// The frozen layer where it is packed, and nothing is added to it.
    pub(super) fn frozen_for(&self, x: &Tensor) -> Option<FrozenLayer<'_>> {
        let packed = self.packed_for(x).filter(|_| self.delta.is_none())?;
        Some(FrozenLayer(packed, self.bias.as_ref()))
    }

    /// The packed weight, where it is what `x` is multiplied by.
    fn packed_for(&self, x: &Tensor) -> Option<&PackedWeight> {
        self.packed.as_ref().filter(|_| narrow::is_on(x.device()))
    }

    /// `x Wᵀ + bias` by libtorch.
    fn product(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let bias = self.bias.as_ref();
        Ok(match &self.weight {
            LinearWeight::Dense(weight) => torch::kernels::linear(x, weight, bias)?,
            LinearWeight::Quantised(weight) => weight.linear(x, bias)?,
        })
    }
}
