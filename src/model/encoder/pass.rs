//! What the layers of a forward pass get beside their input.

use tch::Tensor;

use crate::model::ModelError;
use crate::model::dropout::{Masks, shapes};
use crate::model::joint;

/// A pass over one batch, (rows, tokens, hidden), or over several, which lie side by side.
pub(crate) struct LayerPass<'a, S> {
    /// What the layers share, of each batch.
    pub shared: &'a [S],
    /// The tokens that are wanted of each row, from its first; `None`: all.
    pub wanted: Option<i64>,
    /// Dropout masks, in training.
    pub masks: Option<&'a Masks>,
}

impl<S> LayerPass<'_, S> {
    /// The tokens of `x` that are wanted, of each row of each batch.
    pub fn wanted_of(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        if self.wanted.is_none() {
            return Ok(x.shallow_clone());
        }
        self.each_batch([x], |[x], _, _| first_tokens(&x, self.wanted))
    }

    /// What a function makes of each batch, (rows, tokens, width), with what the layers share of it
    /// and its own masks; side by side where there are several.
    pub fn each_batch<const N: usize>(
        &self,
        tensors: [&Tensor; N],
        of_batch: impl Fn([Tensor; N], &S, Option<&Masks>) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let Some(members) = self.masks.and_then(Masks::members) else {
            let [shared] = self.shared else {
                let message = "several batches in one pass have no masks that tell them apart";
                return Err(ModelError::Refused(message.to_owned()));
            };
            return of_batch(tensors.map(Tensor::shallow_clone), shared, self.masks);
        };
        let shapes = shapes(members);
        let split = tensors.map(|tensor| joint::split(tensor, &shapes));
        let mut parts = Vec::with_capacity(N);
        for tensor in split {
            parts.push(tensor?);
        }
        let made = members
            .iter()
            .zip(self.shared)
            .enumerate()
            .map(|(at, (member, shared))| {
                let own = std::array::from_fn(|tensor| parts[tensor][at].shallow_clone());
                of_batch(own, shared, Some(&member.masks))
            });
        let made: Vec<Tensor> = made.collect::<Result<_, _>>()?;
        Ok(joint::join(&made)?)
    }
}

/// The first tokens of (rows, tokens, hidden), or all.
pub(crate) fn first_tokens(x: &Tensor, wanted: Option<i64>) -> Result<Tensor, ModelError> {
    Ok(match wanted {
        Some(tokens) => x.f_narrow(1, 0, tokens)?,
        None => x.shallow_clone(),
    })
}
