//! AdamW over one client's trained tensors, fresh each round.

use tch::{Kind, Tensor};

use crate::base::torch::adamw::{AdamWConstants, AdamWParameter, fused_adamw};
use crate::base::torch::autograd;
use crate::model::ModelError;

/// AdamW (Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019) with β 0.9 and
/// 0.999, ε 1e-8, by libtorch's fused kernel: all tensors in one call.
#[derive(Debug)]
pub struct AdamW {
    trained: Vec<Moments>,
    weight_decay: f64,
}

/// A trained tensor with its moments.
#[derive(Debug)]
struct Moments {
    value: Tensor,
    mean: Tensor,
    square: Tensor,
    steps: Tensor,
}

impl Moments {
    /// Its part of a step; `None` without a gradient.
    fn with<'a>(&'a self, gradient: &'a Tensor) -> Option<AdamWParameter<'a>> {
        gradient.defined().then_some(AdamWParameter {
            value: &self.value,
            gradient,
            mean: &self.mean,
            square: &self.square,
            steps: &self.steps,
        })
    }
}

impl AdamW {
    /// An optimiser with empty moments.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new<'a>(
        leaves: impl IntoIterator<Item = &'a Tensor>,
        weight_decay: f64,
    ) -> Result<Self, ModelError> {
        let fresh = |leaf: &Tensor| -> Result<_, ModelError> {
            let value = leaf.f_detach()?;
            Ok(Moments {
                mean: value.f_zeros_like()?,
                square: value.f_zeros_like()?,
                steps: Tensor::f_zeros([], (Kind::Float, leaf.device()))?,
                value: leaf.shallow_clone(),
            })
        };
        let trained = leaves.into_iter().map(fresh).collect::<Result<_, _>>()?;
        Ok(Self {
            trained,
            weight_decay,
        })
    }

    /// Takes a step at that learning rate, and clears the gradients. A tensor without a gradient
    /// stays as it is.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step(&mut self, rate: f64) -> Result<(), ModelError> {
        let gradients = self.trained.iter().map(|tensor| tensor.value.f_grad());
        let gradients = gradients.collect::<Result<Vec<_>, _>>()?;
        let trained = self.trained.iter().zip(&gradients);
        let parameters: Vec<_> = trained
            .filter_map(|(tensor, gradient)| tensor.with(gradient))
            .collect();
        let constants = AdamWConstants {
            rate,
            betas: (0.9, 0.999),
            weight_decay: self.weight_decay,
            epsilon: 1e-8,
        };
        fused_adamw(&parameters, constants)?;
        self.clear()
    }

    /// Clears the gradients without a step: there are none then, rather than zeros, which would cost
    /// a device one operation a tensor here and another in the next backward pass.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn clear(&mut self) -> Result<(), ModelError> {
        let tensors: Vec<_> = self.trained.iter().map(|tensor| &tensor.value).collect();
        Ok(autograd::forget_gradients(&tensors)?)
    }
}
