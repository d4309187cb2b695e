//! Gradient checkpointing: of each block only the input is kept, and the block is computed once more
//! in the backward pass. Chen et al., *Training Deep Nets with Sublinear Memory Cost*, 2016.
//!
//! Autograd ends at each block's output, a leaf that gathers its gradient. [`Recompute::backward`]
//! leads the gradients on from there, block by block from the last to the first.
//!
//! Results are the same to the last bit, with one exception: of a trained tensor that is used in
//! several places, as embedding and output at once or in several blocks, the gradients are added in
//! another order where a batch is cut into parts.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use crate::base::torch;
use crate::base::torch::device::Autocast;
use crate::model::ModelError;
use crate::model::dropout::Masks;

/// A model's blocks in training: whether they are recomputed, and what is kept of them between the
/// forward pass and the backward pass. `S` is what all blocks of a pass share.
pub(crate) struct Recompute<S> {
    wanted: bool,
    kept: RefCell<Option<Kept<S>>>,
}

struct Kept<S> {
    shared: S,
    /// What the first block takes, with the graph behind it.
    first: Tensor,
    blocks: Vec<KeptBlock>,
    /// What the last block gave, a leaf.
    last: Tensor,
    /// The kind of mixed precision that was on.
    precision: Option<Kind>,
}

struct KeptBlock {
    /// A leaf.
    input: Tensor,
    /// Draws the masks that the block drew.
    masks: Masks,
}

impl<S> Default for Recompute<S> {
    fn default() -> Self {
        Self {
            wanted: false,
            kept: RefCell::new(None),
        }
    }
}

impl<S> Recompute<S> {
    /// Has blocks recomputed from now on.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether blocks are to be recomputed; only in training, when there are masks.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Computes N blocks, `block` by its number from its input, and keeps their inputs.
    ///
    /// # Errors
    /// If a block fails.
    pub fn forward(
        &self,
        first: Tensor,
        shared: S,
        masks: &Masks,
        blocks: usize,
        block: impl Fn(usize, &Tensor, &S, &Masks) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let mut kept = Kept {
            shared,
            last: cut(&first)?,
            blocks: Vec::with_capacity(blocks),
            precision: Autocast::kind(first.device()),
            first,
        };
        for number in 0..blocks {
            let before = masks.clone();
            let output = block(number, &seen(&kept.last)?, &kept.shared, masks)?;
            let input = std::mem::replace(&mut kept.last, cut(&output)?);
            kept.blocks.push(KeptBlock {
                input,
                masks: before,
            });
        }
        let last = kept.last.shallow_clone();
        *self.kept.borrow_mut() = Some(kept);
        Ok(last)
    }

    /// Leads the gradient that has reached the last block's output to all that the blocks were
    /// computed from. Does nothing where no blocks are kept.
    ///
    /// # Errors
    /// If a block fails.
    pub fn backward(
        &self,
        block: impl Fn(usize, &Tensor, &S, &Masks) -> Result<Tensor, ModelError>,
    ) -> Result<(), ModelError> {
        let Some(kept) = self.kept.borrow_mut().take() else {
            return Ok(());
        };
        let mut reached = kept.last;
        for (number, KeptBlock { input, masks }) in kept.blocks.into_iter().enumerate().rev() {
            let gradient = reached.f_grad()?;
            if !gradient.defined() {
                // Nothing is trained further down.
                return Ok(());
            }
            let autocast = kept
                .precision
                .map(|kind| Autocast::enter(input.device(), kind));
            let autocast = autocast.transpose()?;
            let output = block(number, &seen(&input)?, &kept.shared, &masks)?;
            drop(autocast);
            torch::autograd::backward(&output, &gradient)?;
            reached = input;
        }
        let gradient = reached.f_grad()?;
        if gradient.defined() {
            torch::autograd::backward(&kept.first, &gradient)?;
        }
        Ok(())
    }
}

/// The values as a leaf, which gathers its gradient where they depend on what is trained.
fn cut(x: &Tensor) -> Result<Tensor, ModelError> {
    let leaf = x.f_detach()?;
    Ok(leaf.f_set_requires_grad(x.requires_grad())?)
}

/// A leaf as a block takes it: as a view, for of leaves autocast keeps what it makes of them, and
/// gradients would be summed in the narrow kind.
fn seen(leaf: &Tensor) -> Result<Tensor, ModelError> {
    Ok(leaf.f_alias()?)
}
