//! Which tensors of a model are held how.

use std::collections::BTreeMap;

use crate::model::architecture::Architecture;
use crate::model::linear_layer::LinearLayer;
use crate::model::quantised::precision::BasePrecision;

/// How the tensors of a model are to be held.
pub struct BaseForm<'a> {
    precision: BasePrecision,
    trained: &'a dyn Fn(&str) -> bool,
}

impl<'a> BaseForm<'a> {
    /// All in float32.
    #[must_use]
    pub fn float32() -> BaseForm<'static> {
        BaseForm {
            precision: BasePrecision::Float32,
            trained: &|_| false,
        }
    }

    /// The weights of the transformer's layers in a precision, but for those that `trained` says are
    /// trained in full, by their names.
    #[must_use]
    pub fn new(precision: BasePrecision, trained: &'a dyn Fn(&str) -> bool) -> Self {
        Self { precision, trained }
    }

    /// What weights are held in.
    #[must_use]
    pub fn precision(&self) -> BasePrecision {
        self.precision
    }

    /// The layers whose weights are held in fewer bits, by the weights' names.
    #[must_use]
    pub fn layers(&self, architecture: &dyn Architecture) -> BTreeMap<String, LinearLayer> {
        if self.precision == BasePrecision::Float32 {
            return BTreeMap::new();
        }
        let last = architecture.num_layers();
        let layers = architecture.linear_layers().into_iter();
        layers
            .filter(|layer| layer.layer < last)
            .map(|layer| (layer.weight(), layer))
            .filter(|(name, _)| !(self.trained)(name))
            .collect()
    }

    /// Bytes of all tensors below the head.
    #[must_use]
    pub fn bytes(&self, architecture: &dyn Architecture) -> u64 {
        let layers = self.layers(architecture);
        let tensors = architecture.base_tensors().into_iter();
        let bytes = tensors.map(|spec| match layers.get(&spec.name) {
            Some(layer) => self.precision.bytes(layer.d_out, layer.d_in),
            None => u64::try_from(spec.len()).unwrap_or(0).saturating_mul(4),
        });
        bytes.fold(0, u64::saturating_add)
    }
}
