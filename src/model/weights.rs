//! Named tensors on a device, seen the way a module tree sees them.

use std::collections::HashMap;
use std::rc::Rc;

use tch::{Device, Tensor};

use crate::base::tensors::TensorMap;
use crate::model::ModelError;
use crate::model::delta::Delta;

/// Tensors by name on one device. Cloning shares the memory.
#[derive(Debug, Default)]
pub struct Weights(pub HashMap<String, Tensor>);

impl Weights {
    /// Copies a map to a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn from_map(map: &TensorMap, device: Device) -> Result<Self, ModelError> {
        let place = |(name, tensor): (&str, &crate::base::tensors::HostTensor)| {
            Ok((name.to_owned(), tensor.to_tensor(device)?))
        };
        map.iter()
            .map(place)
            .collect::<Result<_, ModelError>>()
            .map(Self)
    }

    /// The tensor of that name, sharing its memory.
    ///
    /// # Errors
    /// [`ModelError::Missing`].
    pub fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        let found = self.0.get(name).map(Tensor::shallow_clone);
        found.ok_or_else(|| ModelError::Missing {
            name: name.to_owned(),
        })
    }
}

impl Clone for Weights {
    fn clone(&self) -> Self {
        Self(
            self.0
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
        )
    }
}

/// Adapters by the module they attach to.
pub type Deltas = HashMap<String, Rc<dyn Delta>>;

/// A place in the module tree: weights under a prefix, an overlay that wins over them, and the
/// adapters that attach below it.
#[derive(Clone)]
pub struct View<'a> {
    base: &'a Weights,
    overlay: Option<&'a Weights>,
    deltas: Option<&'a Deltas>,
    prefix: String,
}

impl<'a> View<'a> {
    /// The root over frozen weights alone.
    #[must_use]
    pub fn new(base: &'a Weights) -> Self {
        Self {
            base,
            overlay: None,
            deltas: None,
            prefix: String::new(),
        }
    }

    /// The root over frozen weights with trained tensors laid over them and adapters attached.
    #[must_use]
    pub fn adapted(base: &'a Weights, overlay: &'a Weights, deltas: &'a Deltas) -> Self {
        Self {
            base,
            overlay: Some(overlay),
            deltas: Some(deltas),
            prefix: String::new(),
        }
    }

    /// The view one name deeper.
    #[must_use]
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        };
        Self {
            prefix,
            ..self.clone()
        }
    }

    /// The tensor of that name here, of that shape.
    ///
    /// # Errors
    /// [`ModelError::Missing`] and [`ModelError::Shape`].
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let full = self.pp(name).prefix;
        let laid_over = self.overlay.and_then(|weights| weights.0.get(&full));
        let tensor = match laid_over {
            Some(tensor) => tensor.shallow_clone(),
            None => self.base.get(&full)?,
        };
        if tensor.size() != shape {
            let (expected, got) = (shape.to_vec(), tensor.size());
            return Err(ModelError::Shape {
                name: full,
                expected,
                got,
            });
        }
        Ok(tensor)
    }

    /// The adapter that attaches to this very module.
    #[must_use]
    pub fn delta(&self) -> Option<Rc<dyn Delta>> {
        self.deltas?.get(&self.prefix).cloned()
    }
}
