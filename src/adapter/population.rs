//! Many clients' tensors of one name as one stacked tensor.

use tch::{Device, Kind, Tensor};

use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::ModelError;
use crate::model::linear_layer::LinearLayer;

/// The name of a layer's tensor: `roberta.….query.lora_A.weight`.
#[must_use]
pub fn tensor_name(layer: &LinearLayer, suffix: &str) -> String {
    format!("{}.{suffix}", layer.module)
}

/// Adapted layers of equal shape and rank, handled as one batch.
#[derive(Debug, Clone)]
pub struct LayerGroup {
    /// The layers, all (d_out, d_in).
    pub layers: Vec<LinearLayer>,
    /// Width of their outputs.
    pub d_out: i64,
    /// Width of their inputs.
    pub d_in: i64,
}

impl LayerGroup {
    /// The layers by shape, in the order of their first appearance.
    #[must_use]
    pub fn of(layers: &[LinearLayer]) -> Vec<Self> {
        Self::by(layers, |_| ())
    }

    /// The same, with layers apart that differ in `key`: in the tensors of an adapter, say, as
    /// layers of different ranks do.
    #[must_use]
    pub fn by<K: PartialEq>(layers: &[LinearLayer], key: impl Fn(&LinearLayer) -> K) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for layer in layers {
            let (d_out, d_in) = (layer.d_out, layer.d_in);
            match groups
                .iter_mut()
                .find(|g| (g.d_out, g.d_in) == (d_out, d_in) && key(&g.layers[0]) == key(layer))
            {
                Some(group) => group.layers.push(layer.clone()),
                None => groups.push(Self {
                    layers: vec![layer.clone()],
                    d_out,
                    d_in,
                }),
            }
        }
        groups
    }

    /// The same layers in parts whose dense updates have at most this many bytes in float64; a part
    /// has at least one layer.
    pub fn parts(&self, bytes: i64) -> impl Iterator<Item = Self> + use<'_> {
        let each = self
            .d_out
            .saturating_mul(self.d_in)
            .saturating_mul(8)
            .max(1);
        let layers = usize::try_from(bytes / each).unwrap_or(usize::MAX).max(1);
        self.layers.chunks(layers).map(|layers| Self {
            layers: layers.to_vec(),
            ..*self
        })
    }

    /// L, the number of layers.
    #[must_use]
    pub fn len(&self) -> i64 {
        self.layers.len() as i64
    }

    /// Whether there is no layer; never so in a group made by [`LayerGroup::of`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

/// Weighted updates over a common state: what an update lacks, it has from the state.
#[derive(Debug, Clone, Copy)]
pub struct WeightedUpdates<'a> {
    /// What every update started from, and what clients did not train.
    pub state: &'a TensorMap,
    /// The updates' tensors by full name.
    pub updates: &'a [&'a TensorMap],
    /// One weight per update.
    pub weights: &'a [f64],
    /// The device to compute on.
    pub device: Device,
}

/// Updates that are stacked at once where their sum is needed: enough for large products, few
/// enough that their copies in float64 do not count.
pub const CLIENTS_AT_ONCE: usize = 64;

impl<'a> WeightedUpdates<'a> {
    /// A single update, as if there were one client. Of a state, it is that state itself.
    #[must_use]
    pub fn of_one(state: &'a TensorMap, update: &'a &'a TensorMap, device: Device) -> Self {
        Self {
            state,
            updates: std::slice::from_ref(update),
            weights: &[1.0],
            device,
        }
    }

    /// The same updates, at most N at a time, in their order.
    pub fn chunks(&self, clients: usize) -> impl Iterator<Item = WeightedUpdates<'a>> + use<'a> {
        let whole = *self;
        let updates = whole.updates.chunks(clients);
        let pairs = updates.zip(whole.weights.chunks(clients));
        pairs.map(move |(updates, weights)| WeightedUpdates {
            updates,
            weights,
            ..whole
        })
    }

    /// The weights as a tensor, (k).
    ///
    /// # Errors
    /// If the device fails.
    pub fn weights(&self) -> Result<Tensor, ModelError> {
        Ok(Tensor::f_from_slice(self.weights)?.f_to_device(self.device)?)
    }

    /// The tensors of one suffix over all updates and a group's layers, (k, L, shape…), float64.
    ///
    /// # Errors
    /// [`ModelError::Missing`] when neither update nor state has a tensor, [`ModelError::Shape`]
    /// when they differ in shape.
    pub fn stack(&self, group: &LayerGroup, suffix: &str) -> Result<Tensor, ModelError> {
        let mut values: Vec<f32> = Vec::new();
        let mut shape: Option<&[i64]> = None;
        for update in self.updates {
            for layer in &group.layers {
                let name = tensor_name(layer, suffix);
                let first = self.lookup(update, &name)?.shape();
                let expected = *shape.get_or_insert(first);
                values.extend_from_slice(self.values(update, &name, expected)?);
            }
        }
        let mut full = vec![self.updates.len() as i64, group.len()];
        full.extend_from_slice(shape.unwrap_or(&[]));
        let stacked = Tensor::f_from_slice(&values)?
            .f_reshape(&full)?
            .f_to_device(self.device)?;
        Ok(stacked.f_to_kind(Kind::Double)?)
    }

    /// The state's own tensors of one suffix, (L, shape…), float64.
    ///
    /// # Errors
    /// As [`WeightedUpdates::stack`].
    pub fn stack_state(&self, group: &LayerGroup, suffix: &str) -> Result<Tensor, ModelError> {
        let own = WeightedUpdates::of_one(self.state, &self.state, self.device);
        Ok(own.stack(group, suffix)?.f_squeeze_dim(0)?)
    }

    /// The values of an update's tensor, which the state has where the update lacks it.
    ///
    /// # Errors
    /// [`ModelError::Missing`] when neither has it, [`ModelError::Shape`] when it has another
    /// shape.
    pub fn values<'b>(
        &'b self,
        update: &'b TensorMap,
        name: &str,
        shape: &[i64],
    ) -> Result<&'b [f32], ModelError> {
        let tensor = self.lookup(update, name)?;
        if tensor.shape() != shape {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: tensor.shape().to_vec(),
            });
        }
        Ok(tensor.values())
    }

    fn lookup<'b>(
        &'b self,
        update: &'b TensorMap,
        name: &str,
    ) -> Result<&'b HostTensor, ModelError> {
        let found = update.get(name).or_else(|| self.state.get(name));
        found.ok_or_else(|| ModelError::Missing {
            name: name.to_owned(),
        })
    }
}
