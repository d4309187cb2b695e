//! A linear layer that an adapter may target, and how its weight lies in memory.

use tch::{TchError, Tensor};

use crate::model::tensor_spec::{StartValues, TensorSpec};

/// The order of a weight's two dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightLayout {
    /// (d_out, d_in), as PyTorch's `Linear` has it: `y = x Wᵀ`.
    OutIn,
    /// (d_in, d_out), as GPT-2's `Conv1D` has it: `y = x W`.
    InOut,
}

/// A linear layer that an adapter may target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearLayer {
    /// Its module name, `roberta.encoder.layer.0.attention.self.query`.
    pub module: String,
    /// The number of the transformer layer it belongs to, from 0; see
    /// [`Architecture::linear_layers`](crate::model::architecture::Architecture::linear_layers).
    pub layer: i64,
    /// Width of its input.
    pub d_in: i64,
    /// Width of its output.
    pub d_out: i64,
    /// How its weight lies.
    pub layout: WeightLayout,
}

impl LinearLayer {
    /// The name of its weight.
    #[must_use]
    pub fn weight(&self) -> String {
        format!("{}.weight", self.module)
    }

    /// The name of its bias.
    #[must_use]
    pub fn bias(&self) -> String {
        format!("{}.bias", self.module)
    }

    /// The shape of its weight.
    #[must_use]
    pub fn weight_shape(&self) -> [i64; 2] {
        match self.layout {
            WeightLayout::OutIn => [self.d_out, self.d_in],
            WeightLayout::InOut => [self.d_in, self.d_out],
        }
    }

    /// Its weight, and its bias if it has one.
    #[must_use]
    pub fn tensors(&self, has_bias: bool) -> Vec<TensorSpec> {
        let shape = self.weight_shape().to_vec();
        let mut tensors = vec![TensorSpec::new(self.weight(), shape, StartValues::Normal)];
        if has_bias {
            let shape = vec![self.d_out];
            tensors.push(TensorSpec::new(self.bias(), shape, StartValues::Zeros));
        }
        tensors
    }

    /// A change to the layer, (d_out, d_in), as its weight lies. What aggregation adds to a base
    /// weight is kept like this, so that it can be added without knowing the layer.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn as_weight(&self, change: &Tensor) -> Result<Tensor, TchError> {
        match self.layout {
            WeightLayout::OutIn => Ok(change.shallow_clone()),
            WeightLayout::InOut => change.f_transpose(0, 1)?.f_contiguous(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn layer(layout: WeightLayout) -> LinearLayer {
        LinearLayer {
            module: "h.0.attn.c_attn".to_owned(),
            layer: 0,
            d_in: 2,
            d_out: 3,
            layout,
        }
    }

    #[test]
    fn a_change_takes_the_shape_of_the_weight() {
        let change = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([3, 2]);
        for (layout, values) in [
            (WeightLayout::OutIn, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            (WeightLayout::InOut, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]),
        ] {
            let layer = layer(layout);
            let weight = layer.as_weight(&change).unwrap();
            assert_eq!(weight.size(), layer.weight_shape());
            assert_eq!(Vec::<f32>::try_from(weight.flatten(0, -1)).unwrap(), values);
        }
    }
}
