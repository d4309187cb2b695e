//! Dropout masks from keyed random streams.
//!
//! libtorch has one CPU generator per process, so its own dropout would depend on which client
//! drew before. Here a client's masks depend on its key alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::Rng;
use regatta_actors::random::Stream;
use tch::{TchError, Tensor};

use crate::base::torch;
use crate::model::joint::{self, BatchShape, TokenPlaces};

/// The masks of one client's round, drawn in the order of the forward pass; or of several clients
/// whose batches are computed in one pass, each drawn from its client's own. A clone draws those that
/// follow once more.
#[derive(Debug, Clone)]
pub struct Masks(Drawn);

#[derive(Debug, Clone)]
enum Drawn {
    Alone {
        client: usize,
        stream: Box<RefCell<Stream>>,
    },
    Joint {
        members: Vec<PassMember>,
        /// By the number of tokens that lie side by side.
        places: RefCell<BTreeMap<i64, Rc<TokenPlaces>>>,
    },
}

/// A client in a pass over the batches of several.
#[derive(Debug)]
pub struct PassMember {
    /// The shape of its batch.
    pub shape: BatchShape,
    /// Its own masks.
    pub masks: Rc<Masks>,
}

impl Clone for PassMember {
    /// With masks of its own, which a clone draws once more.
    fn clone(&self) -> Self {
        Self {
            shape: self.shape,
            masks: Rc::new(Masks::clone(&self.masks)),
        }
    }
}

impl Masks {
    /// Masks from a stream, of a client that is trained alone.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self::of_client(0, stream)
    }

    /// Masks from a stream, of a client by its place among those that are trained together.
    #[must_use]
    pub fn of_client(client: usize, stream: Stream) -> Self {
        let stream = Box::new(RefCell::new(stream));
        Self(Drawn::Alone { client, stream })
    }

    /// The masks of a pass over the batches of several clients.
    #[must_use]
    pub fn joint(members: Vec<PassMember>) -> Self {
        let places = RefCell::default();
        Self(Drawn::Joint { members, places })
    }

    /// The place of the client among those that are trained together; `None`: these are the masks
    /// of several.
    #[must_use]
    pub fn client(&self) -> Option<usize> {
        match &self.0 {
            Drawn::Alone { client, .. } => Some(*client),
            Drawn::Joint { .. } => None,
        }
    }

    /// The clients of a pass over several batches; `None`: there is one batch.
    #[must_use]
    pub fn members(&self) -> Option<&[PassMember]> {
        match &self.0 {
            Drawn::Alone { .. } => None,
            Drawn::Joint { members, .. } => Some(members),
        }
    }

    /// The places of what lies side by side in this pass.
    ///
    /// # Errors
    /// If these are the masks of one batch, or the device fails.
    pub(crate) fn places(&self, x: &Tensor) -> Result<Rc<TokenPlaces>, TchError> {
        let Drawn::Joint { members, places } = &self.0 else {
            let message = "one batch does not lie beside others";
            return Err(TchError::Torch(message.to_owned()));
        };
        let (_, tokens, _) = x.size3()?;
        if let Some(known) = places.borrow().get(&tokens) {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(TokenPlaces::new(x, &shapes(members))?);
        places.borrow_mut().insert(tokens, Rc::clone(&found));
        Ok(found)
    }

    /// What a function makes of each batch, (rows, tokens, width), and its own masks; side by side
    /// where there are several.
    ///
    /// # Errors
    /// If the function fails, or libtorch does.
    pub(crate) fn each_batch<E: From<TchError>>(
        &self,
        x: &Tensor,
        of_batch: impl Fn(&Tensor, &Self) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let Some(members) = self.members() else {
            return of_batch(x, self);
        };
        let batches = joint::split(x, &shapes(members))?;
        let made: Vec<Tensor> = (batches.iter().zip(members))
            .map(|(batch, member)| of_batch(batch, &member.masks))
            .collect::<Result<_, E>>()?;
        Ok(joint::join(&made)?)
    }

    /// Zeroes each value with probability `p`, rounded to a multiple of 2⁻¹⁶, and scales the rest
    /// by the inverse of the probability to stay, so that the mean is kept exactly.
    ///
    /// # Errors
    /// If the device fails.
    pub fn apply(&self, x: &Tensor, p: f64) -> Result<Tensor, TchError> {
        self.next_of_tokens(x, p)?.apply(x)
    }

    /// The next masks for the values of tokens, (…, tokens, width), to be applied later: one for each
    /// batch that they are of.
    ///
    /// # Errors
    /// If libtorch fails.
    pub(crate) fn next_of_tokens(&self, x: &Tensor, p: f64) -> Result<TokenMasks, TchError> {
        let (tokens, masks) = match &self.0 {
            Drawn::Alone { .. } => (vec![tokens_of(x)], vec![self.next(p)?]),
            Drawn::Joint { members, .. } => {
                let shapes = joint::shapes_in(x, &shapes(members))?;
                let drawn = members.iter().map(|member| member.masks.next(p));
                let tokens = shapes.iter().map(|shape| shape.len()).collect();
                (tokens, drawn.collect::<Result<_, _>>()?)
            }
        };
        Ok(TokenMasks {
            threshold: masks.first().map_or(0, |mask| mask.threshold),
            batches: tokens
                .into_iter()
                .zip(masks.iter().map(|mask| mask.seed))
                .collect(),
        })
    }

    /// The next mask of one client, to be applied later.
    ///
    /// # Errors
    /// If these are the masks of several.
    pub fn next(&self, p: f64) -> Result<DropoutMask, TchError> {
        let Drawn::Alone { stream, .. } = &self.0 else {
            let message = "several clients have no dropout mask in common";
            return Err(TchError::Torch(message.to_owned()));
        };
        let threshold = (p * 65536.0).round() as u16;
        let seed = match threshold {
            0 => 0,
            _ => stream.borrow_mut().next_u64(),
        };
        Ok(DropoutMask { seed, threshold })
    }
}

/// The shapes of the batches of a pass.
pub(crate) fn shapes(members: &[PassMember]) -> Vec<BatchShape> {
    members.iter().map(|member| member.shape).collect()
}

/// One mask: what it drops is a function of the two, and of a value's place. The default drops nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DropoutMask {
    /// Its key.
    pub seed: u64,
    /// The probability to drop a value, times 2¹⁶.
    pub threshold: u16,
}

impl DropoutMask {
    /// See [`Masks::apply`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        if self.threshold == 0 {
            return Ok(x.shallow_clone());
        }
        torch::kernels::dropout(x, self.seed, self.threshold)
    }
}

/// The masks of batches whose tokens lie one after the other, all of one probability.
#[derive(Debug, Clone)]
pub(crate) struct TokenMasks {
    /// Of each batch its number of tokens, and the key of its mask.
    pub batches: Vec<(i64, u64)>,
    /// As [`DropoutMask::threshold`].
    pub threshold: u16,
}

impl TokenMasks {
    /// Masks that drop nothing of these values.
    pub fn none(x: &Tensor) -> Self {
        Self {
            batches: vec![(tokens_of(x), 0)],
            threshold: 0,
        }
    }

    /// See [`Masks::apply`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let threshold = self.threshold;
        if threshold == 0 {
            return Ok(x.shallow_clone());
        }
        if let [(_, seed)] = self.batches[..] {
            return torch::kernels::dropout(x, seed, threshold);
        }
        let width = width_of(x);
        let parts = self.batches.iter();
        let parts: Vec<_> = parts
            .map(|(tokens, seed)| (tokens * width, *seed))
            .collect();
        torch::joint_kernels::dropout_of_parts(x, &parts, threshold)
    }
}

fn width_of(x: &Tensor) -> i64 {
    x.size().last().copied().unwrap_or(1).max(1)
}

fn tokens_of(x: &Tensor) -> i64 {
    x.numel() as i64 / width_of(x)
}

/// The next mask of a batch in training, unless nothing is dropped.
///
/// # Errors
/// If these are the masks of several batches.
pub(crate) fn next_mask(
    dropout: f64,
    masks: Option<&Masks>,
) -> Result<Option<DropoutMask>, TchError> {
    let masks = masks.filter(|_| dropout > 0.0);
    masks.map(|masks| masks.next(dropout)).transpose()
}

/// Dropout in training; nothing when there are no masks, as in evaluation.
///
/// # Errors
/// If the device fails.
pub fn dropout(x: &Tensor, p: f64, masks: Option<&Masks>) -> Result<Tensor, TchError> {
    match masks {
        Some(masks) => masks.apply(x, p),
        None => Ok(x.shallow_clone()),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tch::{Device, Kind};

    use super::*;

    fn masks(seed: u64) -> Masks {
        Masks::new(Stream::seed_from_u64(seed))
    }

    #[test]
    fn keeps_the_mean_and_drops_the_given_share() {
        let ones = Tensor::ones([1000, 100], (Kind::Float, Device::Cpu));
        let dropped = masks(7).apply(&ones, 0.1).unwrap();
        let zeros = dropped.eq(0.0).sum(Kind::Int64).int64_value(&[]);
        assert!(
            (9_600..10_400).contains(&zeros),
            "{zeros} of 100000 dropped at p = 0.1"
        );
        let mean = dropped.mean(Kind::Double).double_value(&[]);
        assert!((mean - 1.0).abs() < 0.005, "mean {mean}");
    }

    #[test]
    fn draws_the_same_masks_from_the_same_key_and_others_from_another() {
        let x = Tensor::ones([64], (Kind::Float, Device::Cpu));
        let draw = |seed| Vec::<f32>::try_from(masks(seed).apply(&x, 0.5).unwrap()).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_gradient_has_the_mask_of_the_forward_pass() {
        let x = Tensor::randn([37, 129], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = masks(3).apply(&x, 0.25).unwrap();
        y.sum(Kind::Float).backward();
        let mask = (y / &x).detach();
        assert!(x.grad().allclose(&mask, 1e-6, 1e-6, false));
    }

    #[test]
    fn a_mask_does_not_depend_on_the_number_of_threads_or_the_kind() {
        let x = Tensor::ones([300, 1000], (Kind::Float, Device::Cpu));
        let draw = |threads| {
            torch::threads::use_threads(threads);
            masks(5).apply(&x, 0.1).unwrap()
        };
        let one = draw(1);
        assert_eq!(draw(2), one);
        for kind in [Kind::BFloat16, Kind::Half] {
            let narrow = masks(5).apply(&x.to_kind(kind), 0.1).unwrap();
            assert_eq!(narrow.kind(), kind);
            assert_eq!(narrow.ne(0.0), one.ne(0.0));
        }
    }

    #[test]
    fn integers_are_refused_with_a_reason() {
        let x = Tensor::ones([4], (Kind::Int64, Device::Cpu));
        let error = masks(1).apply(&x, 0.5).unwrap_err().to_string();
        assert!(error.contains("dropout of Long values"), "{error}");
    }

    #[test]
    fn leaves_the_input_alone_at_zero_probability() {
        let x = Tensor::randn([8], (Kind::Float, Device::Cpu));
        assert_eq!(masks(1).apply(&x, 0.0).unwrap(), x);
    }
}
