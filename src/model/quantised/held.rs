//! A linear layer's weight in fewer bits than float32, on a device.

use tch::{TchError, Tensor};

use crate::base::torch::quantised::{CodeForm, CodedWeight};
use crate::model::linear_layer::{LinearLayer, WeightLayout};

/// A linear layer's frozen weight as codes, and what aggregation added to it.
#[derive(Debug)]
pub struct HeldWeight {
    form: CodeForm,
    codes: Tensor,
    scales: Option<Tensor>,
    /// (d_out, d_in) in float32, however it lies.
    added: Option<Tensor>,
    d_out: i64,
    d_in: i64,
    layout: WeightLayout,
}

impl Clone for HeldWeight {
    fn clone(&self) -> Self {
        Self {
            form: self.form,
            codes: self.codes.shallow_clone(),
            scales: self.scales.as_ref().map(Tensor::shallow_clone),
            added: self.added.as_ref().map(Tensor::shallow_clone),
            ..*self
        }
    }
}

impl HeldWeight {
    pub(super) fn new(
        layer: &LinearLayer,
        form: CodeForm,
        codes: Tensor,
        scales: Option<Tensor>,
    ) -> Self {
        Self {
            form,
            codes,
            scales,
            added: None,
            d_out: layer.d_out,
            d_in: layer.d_in,
            layout: layer.layout,
        }
    }

    /// The shape that the weight has in the model's file.
    #[must_use]
    pub fn shape(&self) -> [i64; 2] {
        match self.layout {
            WeightLayout::OutIn => [self.d_out, self.d_in],
            WeightLayout::InOut => [self.d_in, self.d_out],
        }
    }

    /// The same with what aggregation added to it, in float32 on the same device, as the model's file
    /// has the weight. It takes the place of what was added before.
    ///
    /// # Errors
    /// If it is of another shape.
    pub fn with(&self, added: &Tensor) -> Result<Self, TchError> {
        if added.size() != self.shape() {
            return Err(TchError::Shape(format!(
                "a change of shape {:?} to a weight of shape {:?}",
                added.size(),
                self.shape()
            )));
        }
        let added = match self.layout {
            WeightLayout::OutIn => added.shallow_clone(),
            WeightLayout::InOut => added.f_transpose(0, 1)?,
        };
        Ok(Self {
            added: Some(added),
            ..self.clone()
        })
    }

    /// `y = x Wᵀ + bias`; see [`CodedWeight::linear`].
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        self.coded().linear(x, bias)
    }

    /// The weight, (d_out, d_in), in float32, with what was added to it.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn dense(&self) -> Result<Tensor, TchError> {
        self.coded().dense()
    }

    pub(super) fn coded(&self) -> CodedWeight<'_> {
        CodedWeight {
            form: self.form,
            codes: &self.codes,
            scales: self.scales.as_ref(),
            added: self.added.as_ref(),
            rows: self.d_out,
            columns: self.d_in,
        }
    }
}
