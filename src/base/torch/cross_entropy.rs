//! Cross-entropy over a vocabulary and its gradient in one pass over the logits, by the C++ in
//! `csrc/cross_entropy.cpp`.

use std::ffi::c_int;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;

unsafe extern "C" {
    fn shim_cross_entropy(
        logits: *const C_tensor,
        tokens: *const C_tensor,
        with_gradient: bool,
        cap: f32,
        smoothing: f32,
        own: *mut *mut C_tensor,
        all: *mut *mut C_tensor,
    ) -> c_int;
}

/// The tokens that logits are to predict.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy<'a> {
    /// (rows), int64.
    pub tokens: &'a Tensor,
    /// c, where logits y are `c tanh(x / c)`.
    pub cap: Option<f64>,
    /// p, the probability that label smoothing spreads over the whole vocabulary.
    pub smoothing: f64,
}

/// What a loss is made of, in float32.
#[derive(Debug)]
pub struct LogProbabilities {
    /// Of each token, (rows).
    pub own: Tensor,
    /// The sums over the vocabulary, (rows), with label smoothing.
    pub all: Option<Tensor>,
}

impl CrossEntropy<'_> {
    /// The log-probabilities. If the gradient is wanted, it takes the place of the logits y, by x, as they
    /// were before the cap: `(p(v) − (1 − p) [v is the token] − p/V) (1 − (y/c)²)`, the second factor with
    /// a cap alone.
    ///
    /// `None`, with the logits as they were, where that is not written for them: on a GPU, and in other
    /// kinds than float32 and bfloat16.
    ///
    /// # Shapes
    /// `logits` (rows, vocabulary), each row contiguous, without a graph.
    ///
    /// # Errors
    /// If shapes do not fit, a token is not in the vocabulary, or memory runs out.
    pub fn compute(
        self,
        logits: &mut Tensor,
        with_gradient: bool,
    ) -> Result<Option<LogProbabilities>, TchError> {
        let (mut own, mut all) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the tensors are alive through the call, and the logits, which it writes to, are lent
        // to it alone.
        let code = unsafe {
            shim_cross_entropy(
                logits.as_ptr(),
                self.tokens.as_ptr(),
                with_gradient,
                self.cap.map_or(0.0, |cap| cap as f32),
                self.smoothing as f32,
                &raw mut own,
                &raw mut all,
            )
        };
        check(code)?;
        let taken = |found: *mut C_tensor| {
            // SAFETY: what is not null is a tensor of our own.
            (!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) })
        };
        let all = taken(all);
        Ok(taken(own).map(|own| LogProbabilities { own, all }))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// Values between −6 and 6 that bfloat16 has.
    fn values(shape: &[i64], step: f64) -> Tensor {
        let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
        let values = ((count * step).sin() * 6.0).reshape(shape);
        values.to_kind(Kind::BFloat16).to_kind(Kind::Double)
    }

    /// Log-probabilities and the gradient by the logits before the cap, by autograd in float64.
    fn exact(logits: &Tensor, loss: CrossEntropy<'_>) -> [Tensor; 3] {
        let slope = match loss.cap {
            Some(cap) => 1.0 - (logits / cap).square(),
            None => logits.ones_like(),
        };
        let logits = logits.copy().set_requires_grad(true);
        let log_p = logits.log_softmax(-1, Kind::Double);
        let own = log_p.gather(1, &loss.tokens.unsqueeze(1), false).squeeze();
        let all = log_p.sum_dim_intlist(-1, false, Kind::Double);
        let share = loss.smoothing / logits.size()[1] as f64;
        let sum = -(&own * (1.0 - loss.smoothing) + &all * share).sum(Kind::Double);
        sum.backward();
        [own.detach(), all.detach(), logits.grad() * slope]
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().max().double_value(&[])
    }

    #[test]
    fn log_probabilities_and_their_gradient_are_those_of_float64() {
        // Below, at and above what is computed at a time, and more than is summed in float32.
        for vocabulary in [1, 7, 8, 45, 4097, 9001] {
            let last = vocabulary - 1;
            let tokens = Tensor::from_slice(&[0, last, last / 2]);
            for (cap, smoothing) in [(None, 0.0), (None, 0.1), (Some(9.0), 0.0), (Some(9.0), 0.2)] {
                let loss = CrossEntropy {
                    tokens: &tokens,
                    cap,
                    smoothing,
                };
                let logits = values(&[3, vocabulary], 0.7);
                let [own, all, gradient] = exact(&logits, loss);
                for (kind, allowed) in [(Kind::Float, 1e-6), (Kind::BFloat16, 4e-3)] {
                    let name = format!("{kind:?}, {vocabulary}, {cap:?}, {smoothing}");
                    let mut given = logits.to_kind(kind).copy();
                    let found = loss.compute(&mut given, false).unwrap().unwrap();
                    assert_eq!(given.to_kind(Kind::Double), logits, "{name}: left alone");
                    let again = loss.compute(&mut given, true).unwrap().unwrap();
                    assert_eq!(found.own, again.own, "{name}");
                    assert!(
                        largest(&(&found.own - &own)) < 1e-6 * largest(&own).max(1.0),
                        "{name}"
                    );
                    assert_eq!(found.all.is_some(), smoothing > 0.0, "{name}");
                    if let Some(found) = found.all {
                        assert!(
                            largest(&(found - &all)) < 1e-6 * largest(&all).max(1.0),
                            "{name}"
                        );
                    }
                    let miss = largest(&(given - &gradient));
                    assert!(
                        miss < allowed * largest(&gradient).max(1e-3),
                        "{name}: {miss:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_lies_behind_a_row_is_left_alone() {
        let tokens = Tensor::from_slice(&[3_i64, 4]);
        let loss = CrossEntropy {
            tokens: &tokens,
            cap: None,
            smoothing: 0.1,
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let wide = values(&[2, 20], 0.7).to_kind(kind);
            let mut alone = wide.narrow(1, 0, 13).copy();
            let want = loss.compute(&mut alone, true).unwrap().unwrap();
            let behind = wide.narrow(1, 13, 7).copy();
            let mut rows = wide.narrow(1, 0, 13);
            let found = loss.compute(&mut rows, true).unwrap().unwrap();
            assert_eq!((found.own, found.all), (want.own, want.all));
            assert_eq!((rows, wide.narrow(1, 13, 7)), (alone, behind));
        }
    }

    #[test]
    fn a_logit_that_is_no_number_makes_a_loss_that_is_none() {
        for (kind, wrong) in [
            (Kind::Float, f64::NAN),
            (Kind::BFloat16, f64::NAN),
            (Kind::Float, f64::INFINITY),
        ] {
            for place in [0, 8, 12] {
                let mut logits = values(&[2, 13], 0.7).to_kind(kind);
                let _ = logits.get(0).get(place).fill_(wrong);
                let loss = CrossEntropy {
                    tokens: &Tensor::from_slice(&[3_i64, 4]),
                    cap: None,
                    smoothing: 0.0,
                };
                let found = loss.compute(&mut logits, true).unwrap().unwrap();
                assert!(found.own.double_value(&[0]).is_nan(), "{kind:?} at {place}");
                assert!(
                    found.own.double_value(&[1]).is_finite(),
                    "{kind:?} at {place}"
                );
                let gradient = logits.to_kind(Kind::Float);
                assert!(
                    gradient.double_value(&[0, 3]).is_nan(),
                    "{kind:?} at {place}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_other_kinds_are_left_alone() {
        let tokens = Tensor::from_slice(&[3_i64, 13]);
        let loss = CrossEntropy {
            tokens: &tokens,
            cap: None,
            smoothing: 0.0,
        };
        let refused = |logits: &Tensor| loss.compute(&mut logits.to_kind(Kind::Float), true);
        let error = refused(&values(&[2, 13], 0.7)).unwrap_err().to_string();
        assert!(error.contains("token 13 is not among 13"), "{error}");
        assert!(refused(&values(&[3, 14], 0.7)).is_err());
        let mut logits = values(&[2, 14], 0.7);
        assert!(loss.compute(&mut logits, true).unwrap().is_none());
        assert_eq!(logits, values(&[2, 14], 0.7));
    }
}
