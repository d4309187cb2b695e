//! AdamW over one client's trained tensors, fresh each round.

use tch::{COptimizer, Tensor};

use crate::model::ModelError;

/// AdamW (Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019) with β 0.9 and
/// 0.999, ε 1e-8, by libtorch.
#[derive(Debug)]
pub struct AdamW(COptimizer);

impl AdamW {
    /// An optimiser with empty moments.
    ///
    /// # Errors
    /// When a tensor is no leaf of the graph.
    pub fn new<'a>(
        leaves: impl IntoIterator<Item = &'a Tensor>,
        weight_decay: f64,
    ) -> Result<Self, ModelError> {
        let mut optimizer = COptimizer::adamw(0.0, 0.9, 0.999, weight_decay, 1e-8, false)?;
        for leaf in leaves {
            optimizer.add_parameters(leaf, 0)?;
        }
        Ok(Self(optimizer))
    }

    /// Takes a step at that learning rate, and clears the gradients.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn step(&mut self, rate: f64) -> Result<(), ModelError> {
        self.0.set_learning_rate(rate)?;
        self.0.step()?;
        self.clear()
    }

    /// Clears the gradients without a step.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn clear(&mut self) -> Result<(), ModelError> {
        Ok(self.0.zero_grad()?)
    }
}
