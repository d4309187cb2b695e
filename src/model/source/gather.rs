//! A model's frozen tensors, gathered one by one as they are to be held.

use std::collections::BTreeMap;

use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::linear_layer::LinearLayer;
use crate::model::quantised::precision::BasePrecision;
use crate::model::quantised::weight::QuantisedWeight;
use crate::model::source::soundness::check_finite;

/// The tensors so far. Of a weight that is held in fewer bits only its codes are kept, so that at most
/// one such weight is in float32 at a time.
pub(crate) struct Gathered {
    pub tensors: TensorMap,
    pub quantised: BTreeMap<String, QuantisedWeight>,
    layers: BTreeMap<String, LinearLayer>,
    precision: BasePrecision,
    /// What was wrong with the first weight that could not be held in fewer bits.
    unsound: Option<String>,
}

impl Gathered {
    /// None yet.
    pub fn new(form: &BaseForm<'_>, architecture: &dyn Architecture) -> Self {
        Self {
            tensors: TensorMap::default(),
            quantised: BTreeMap::new(),
            layers: form.layers(architecture),
            precision: form.precision(),
            unsound: None,
        }
    }

    /// Takes a tensor under the name that the architecture has for it. One of a wrong shape is kept as
    /// it is, to be refused for that.
    pub fn add(&mut self, name: String, tensor: HostTensor) {
        let layer = self.layers.get(&name);
        let Some(layer) = layer.filter(|layer| tensor.shape() == layer.weight_shape()) else {
            self.tensors.insert(name, tensor);
            return;
        };
        let quantised = check_finite(&name, &tensor).and_then(|()| {
            let made = QuantisedWeight::new(&tensor, layer, self.precision);
            made.map_err(|reason| format!("tensor {name} {reason}"))
        });
        match quantised {
            Ok(weight) => {
                self.quantised.insert(name, weight);
            }
            Err(reason) => {
                self.unsound.get_or_insert(reason);
                self.tensors.insert(name, tensor);
            }
        }
    }

    /// Refuses weights that cannot be held in fewer bits.
    ///
    /// # Errors
    /// The first of them and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.unsound.clone().map_or(Ok(()), Err)
    }
}
