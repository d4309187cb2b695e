//! The layers that make queries, keys and values of hidden states.

use tch::{TchError, Tensor};

use crate::model::ModelError;
use crate::model::dropout::Masks;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::weights::View;

/// The three layers, whatever adapters they have: one operation in bfloat16 on a CPU with AMX, and one
/// product where their weights lie one below the other
/// ([`StackedTensors`](crate::model::stacked_tensors::StackedTensors)).
pub(crate) struct QueryKeyValue {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    stack: Option<Stack>,
}

/// All three in one, without what adapters add.
struct Stack {
    layer: Linear,
    widths: [i64; 3],
}

impl QueryKeyValue {
    /// The layers of these names at `view`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn new(view: &View<'_>, layers: [(&str, LinearSpec); 3]) -> Result<Self, ModelError> {
        let linear = |at: usize| {
            let (name, spec) = &layers[at];
            Linear::new(&view.pp(name), spec)
        };
        Ok(Self {
            query: linear(0)?,
            key: linear(1)?,
            value: linear(2)?,
            stack: Stack::of(view, &layers)?,
        })
    }

    /// Queries, keys and values of hidden states; and these, for what reads them besides.
    ///
    /// # Errors
    /// If libtorch fails, for example when out of memory.
    pub fn forward(
        &self,
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<([Tensor; 3], Tensor), ModelError> {
        let layers = [&self.query, &self.key, &self.value];
        if let Some(found) = Linear::forward_together(layers, x, masks)? {
            return Ok(found);
        }
        let Some(stack) = &self.stack else {
            return Ok((self.forward_apart(x, x, masks)?, x.shallow_clone()));
        };
        let [query, key, value] = stack.forward(x)?;
        let found = [
            self.query.changed(query, x, masks)?,
            self.key.changed(key, x, masks)?,
            self.value.changed(value, x, masks)?,
        ];
        Ok((found, x.shallow_clone()))
    }

    /// Queries of some hidden states, keys and values of others.
    ///
    /// # Errors
    /// As [`QueryKeyValue::forward`].
    pub fn forward_apart(
        &self,
        queried: &Tensor,
        x: &Tensor,
        masks: Option<&Masks>,
    ) -> Result<[Tensor; 3], ModelError> {
        Ok([
            self.query.forward(queried, masks)?,
            self.key.forward(x, masks)?,
            self.value.forward(x, masks)?,
        ])
    }
}

impl Stack {
    fn of(view: &View<'_>, layers: &[(&str, LinearSpec); 3]) -> Result<Option<Self>, ModelError> {
        let names = layers.map(|(name, _)| name);
        let specs = layers.map(|(_, spec)| spec);
        let Some(weight) = view.stacked(&names, "weight")? else {
            return Ok(None);
        };
        let has_bias = specs.iter().any(|spec| spec.bias);
        let bias = match has_bias {
            true => view.stacked(&names, "bias")?,
            false => None,
        };
        if has_bias && bias.is_none() {
            return Ok(None);
        }
        let layer = Linear::of(weight, bias);
        let widths = specs.map(|spec| spec.d_out);
        Ok(Some(Self { layer, widths }))
    }

    /// Views of one output. Split at once, their gradients are joined rather than added.
    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], ModelError> {
        let y = self.layer.forward(x, None)?;
        let parts = y.f_split_with_sizes(self.widths, -1)?;
        let parts = <[Tensor; 3]>::try_from(parts);
        parts.map_err(|_| TchError::Shape("a layer's output has three parts".to_owned()).into())
    }
}
