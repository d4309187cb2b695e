//! What a language model's logits are made with.

use tch::{Kind, TchError, Tensor};

use crate::base::torch;
use crate::base::torch::device::Autocast;
use crate::base::torch::narrow::{self, PackedWeight};
use crate::base::torch::narrow_sequential::FrozenLayer;
use crate::model::ModelError;
use crate::model::weights::View;

/// A table of (vocabulary, hidden): a product with it makes logits of hidden states.
pub struct OutputTable {
    table: Tensor,
    /// The table for products in bfloat16, if it is packed for them.
    packed: Option<PackedWeight>,
}

impl OutputTable {
    /// The tensor of that name, (vocabulary, hidden).
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub(crate) fn at(root: &View<'_>, name: &str, shape: [i64; 2]) -> Result<Self, ModelError> {
        Ok(Self {
            table: root.get(name, &shape)?,
            packed: root.packed(name),
        })
    }

    /// Tokens.
    #[must_use]
    pub fn vocabulary(&self) -> i64 {
        self.table.size().first().copied().unwrap_or(0)
    }

    /// The table itself.
    pub fn table(&self) -> &Tensor {
        &self.table
    }

    /// The kind of its products.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Autocast::kind(self.table.device()).unwrap_or(self.table.kind())
    }

    /// The same for several products in the kind of mixed precision: rounded once, where it would be for
    /// each.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn rounded(&self) -> Result<Self, TchError> {
        let table = match Autocast::kind(self.table.device()) {
            Some(kind) if self.packed().is_none() => self.table.f_to_kind(kind)?,
            _ => self.table.shallow_clone(),
        };
        Ok(Self {
            table,
            packed: self.packed.clone(),
        })
    }

    /// The logits of hidden states, (…, hidden), in the kind of the products. Behind those of the
    /// vocabulary there may be some of no token, which are 0.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn padded_logits(&self, states: &Tensor) -> Result<Tensor, TchError> {
        match self.packed() {
            Some(packed) => FrozenLayer(packed, None).forward(states),
            None => torch::kernels::linear(states, &self.table, None),
        }
    }

    /// A gradient by hidden states, from that by [`Self::padded_logits`].
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn back(&self, by_logits: &Tensor) -> Result<Tensor, TchError> {
        match self.packed() {
            Some(packed) => FrozenLayer(&packed.transposed(), None).forward(by_logits),
            None => torch::kernels::linear(by_logits, &self.table.f_transpose(0, 1)?, None),
        }
    }

    /// The packed table, where it is what states are multiplied by.
    fn packed(&self) -> Option<&PackedWeight> {
        let device = self.table.device();
        self.packed.as_ref().filter(|_| narrow::is_on(device))
    }
}

#[cfg(test)]
impl OutputTable {
    /// A table by itself.
    pub(crate) fn of(table: &Tensor) -> Self {
        Self {
            table: table.shallow_clone(),
            packed: None,
        }
    }

    /// The same, packed where the processor multiplies packed weights.
    pub(crate) fn packed_of(table: &Tensor) -> Self {
        Self {
            packed: PackedWeight::padded(table).unwrap(),
            ..Self::of(table)
        }
    }
}
