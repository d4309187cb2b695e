//! The loss of a language model, in parts: nothing as large as tokens × vocabulary is kept.
//!
//! Logits are a product with a table that is mostly frozen, so their gradient is needed only as what
//! it makes of the hidden states. That is computed by hand along with the loss, some tokens at a
//! time, whose logits are then forgotten.

use tch::{Kind, Tensor, no_grad};

use crate::base::torch::cross_entropy::{CrossEntropy, LogProbabilities};
use crate::model::ModelError;
use crate::model::heads::output_table::OutputTable;
use crate::model::layers::soft_cap::SoftCap;
use crate::model::loss::Loss;

/// Bytes of logits that a part has at most, unless one token has more. A constant, so that results do
/// not depend on the memory that there is. The more tokens at once, the faster they are multiplied: by
/// 50,257 of 768 in float32, 334 take a twelfth less time than 166 by MKL on two threads; by 50,257 of
/// 384 in bfloat16, the way back of 667 takes a fifth less than that of 333 by oneDNN; in float32 there,
/// both products of 1,024 take 239 ms in parts of 256, 231 of 512, and 228 at once, for twice the memory.
const PART: i64 = 1 << 27;

/// What a language model's loss is computed from.
pub(crate) struct TokenLoss<'a> {
    /// The hidden states that tokens are predicted from, (labels, hidden).
    pub states: &'a Tensor,
    /// What makes logits of them.
    pub output: &'a OutputTable,
    /// The cap of the logits.
    pub cap: Option<SoftCap>,
    /// The tokens that come next, (labels), int64.
    pub tokens: &'a Tensor,
    /// p, the probability that label smoothing spreads over the whole vocabulary.
    pub smoothing: f64,
}

/// What the loss is made of, for some of the tokens.
struct TokenPart {
    /// The tokens' log-probabilities, (tokens).
    own: Tensor,
    /// The sums of all log-probabilities, (tokens), if labels are smoothed.
    all: Option<Tensor>,
    /// The loss's gradient by the hidden states times the number of labels, (tokens, hidden), if one
    /// is wanted.
    by_states: Option<Tensor>,
}

impl TokenLoss<'_> {
    /// `((1 − p) Σ −log p(token) + p/V Σ Σ −log p(v)) / N` over N tokens and V of the vocabulary, as
    /// transformers' `LabelSmoother` has it; 0 of no tokens.
    ///
    /// # Errors
    /// If shapes do not fit or libtorch fails.
    pub fn compute(&self) -> Result<Loss, ModelError> {
        if self.output.table().requires_grad() {
            return self.at_once();
        }
        let output = self.output.rounded()?;
        no_grad(|| self.in_parts(&output, self.rows())).and_then(|(mean, gradient)| {
            let graph = match gradient {
                Some(gradient) => self.states.f_mul(&gradient)?.f_sum(Kind::Float)?,
                None => mean.shallow_clone(),
            };
            Ok(Loss { mean, graph })
        })
    }

    fn labels(&self) -> i64 {
        self.tokens.size().first().copied().unwrap_or(0)
    }

    /// Tokens in a part, whose logits are by this output.
    fn rows(&self) -> i64 {
        // Capped logits are in float32.
        let kind = match self.cap {
            Some(_) => Kind::Float,
            None => self.output.kind(),
        };
        let of_token = kind.elt_size_in_bytes() as i64 * self.output.vocabulary().max(1);
        (PART / of_token).max(1)
    }

    /// The logits of states, see [`OutputTable::padded_logits`]; capped ones in float32.
    fn padded_logits(&self, output: &OutputTable, states: &Tensor) -> Result<Tensor, ModelError> {
        let logits = output.padded_logits(states)?;
        match self.cap {
            Some(cap) => Ok(cap.forward(&logits.f_to_kind(Kind::Float)?)?),
            None => Ok(logits),
        }
    }

    /// As it is defined, by autograd.
    fn at_once(&self) -> Result<Loss, ModelError> {
        let logits = self.padded_logits(self.output, self.states)?;
        let log_p = logits.f_log_softmax(-1, Kind::Float)?;
        let own = log_p.f_gather(1, &self.tokens.f_unsqueeze(1)?, false)?;
        let sums = [own.f_sum(Kind::Float)?, log_p.f_sum(Kind::Float)?];
        Loss::of_graph(self.mean(&sums, self.labels())?)
    }

    /// The mean, and its gradient by the states if one is wanted, N tokens at a time.
    fn in_parts(
        &self,
        output: &OutputTable,
        rows: i64,
    ) -> Result<(Tensor, Option<Tensor>), ModelError> {
        let zero = || Tensor::f_zeros([], (Kind::Double, self.states.device()));
        let mut sums = [zero()?, zero()?];
        let mut gradients = Vec::new();
        for part in self.parts(output, rows) {
            let part = part?;
            sums[0] = sums[0].f_add(&part.own.f_sum(Kind::Double)?)?;
            if let Some(all) = &part.all {
                sums[1] = sums[1].f_add(&all.f_sum(Kind::Double)?)?;
            }
            if let Some(by_states) = part.by_states {
                gradients.push(by_states.f_div_scalar(self.labels() as f64)?);
            }
        }
        let mean = self.mean(&sums, self.labels())?.f_to_kind(Kind::Float)?;
        let gradient = match gradients.is_empty() {
            true if self.states.requires_grad() => Some(self.states.f_zeros_like()?),
            true => None,
            false => Some(Tensor::f_cat(&gradients, 0)?),
        };
        Ok((mean, gradient))
    }

    /// The loss of each of several batches, whose states lie in `batches` and, one after the other, in
    /// [`Self::states`]. The output layer is frozen: it gets no gradient.
    ///
    /// # Errors
    /// If shapes do not fit or libtorch fails.
    pub fn compute_each(&self, batches: &[Tensor]) -> Result<Vec<Loss>, ModelError> {
        let output = self.output.rounded()?;
        let parts = self.parts(&output, self.rows());
        let parts = no_grad(|| parts.collect::<Result<Vec<_>, _>>())?;
        let lengths: Vec<i64> = batches.iter().map(|batch| batch.size()[0]).collect();
        let of_batches = |of_part: fn(&TokenPart) -> Option<&Tensor>| {
            let parts: Vec<&Tensor> = parts.iter().filter_map(of_part).collect();
            match parts.is_empty() {
                true => Ok(Vec::new()),
                false => Tensor::f_cat(&parts, 0)?.f_split_with_sizes(&lengths, 0),
            }
        };
        let own = of_batches(|part| Some(&part.own))?;
        let all = of_batches(|part| part.all.as_ref())?;
        let gradients = of_batches(|part| part.by_states.as_ref())?;
        let loss = |(at, states): (usize, &Tensor)| {
            let sum = |of: Option<&Tensor>| match of {
                Some(of) => of.f_sum(Kind::Double),
                None => Tensor::f_zeros([], (Kind::Double, states.device())),
            };
            let sums = [sum(own.get(at))?, sum(all.get(at))?];
            let mean = self.mean(&sums, lengths[at])?.f_to_kind(Kind::Float)?;
            let graph = match gradients.get(at) {
                Some(gradient) => {
                    let gradient = gradient.f_div_scalar(lengths[at].max(1) as f64)?;
                    states.f_mul(&gradient)?.f_sum(Kind::Float)?
                }
                None => mean.shallow_clone(),
            };
            Ok(Loss { mean, graph })
        };
        batches.iter().enumerate().map(loss).collect()
    }

    /// What the loss is made of, up to N tokens at a time.
    fn parts(
        &self,
        output: &OutputTable,
        rows: i64,
    ) -> impl Iterator<Item = Result<TokenPart, ModelError>> {
        // All of a size: a product with few states takes as long as one with many.
        let labels = self.labels() as usize;
        let parts = labels.div_ceil(rows as usize).max(1);
        let rows = labels.div_ceil(parts).max(1) as i64;
        let starts = (0..self.labels()).step_by(rows as usize);
        starts.map(move |start| self.part(output, start, rows.min(self.labels() - start)))
    }

    fn part(&self, output: &OutputTable, start: i64, count: i64) -> Result<TokenPart, ModelError> {
        let states = self.states.f_narrow(0, start, count)?;
        let tokens = &self.tokens.f_narrow(0, start, count)?;
        let with_gradient = self.states.requires_grad();
        let mut padded = self.padded_logits(output, &states)?;
        let mut logits = padded.f_narrow(1, 0, output.vocabulary())?;
        let loss = CrossEntropy {
            tokens,
            cap: self.cap.map(|SoftCap(cap)| cap),
            smoothing: self.smoothing,
        };
        let found = match loss.compute(&mut logits, with_gradient)? {
            Some(found) => found,
            None => {
                let found = self.by_libtorch(&mut logits, tokens, with_gradient)?;
                padded = logits;
                found
            }
        };
        let by_states = with_gradient.then(|| output.back(&padded)).transpose()?;
        Ok(TokenPart {
            own: found.own,
            all: found.all,
            by_states: by_states.map(|it| it.f_to_kind(Kind::Float)).transpose()?,
        })
    }

    /// What [`CrossEntropy::compute`] does, in several passes on any device.
    fn by_libtorch(
        &self,
        logits: &mut Tensor,
        tokens: &Tensor,
        with_gradient: bool,
    ) -> Result<LogProbabilities, ModelError> {
        let tokens = tokens.f_unsqueeze(1)?;
        let mut log_p = logits.f_log_softmax(-1, Kind::Float)?;
        let own = log_p.f_gather(1, &tokens, false)?.f_squeeze_dim(1)?;
        let all = (self.smoothing > 0.0)
            .then(|| log_p.f_sum_dim_intlist(-1, false, Kind::Float))
            .transpose()?;
        if with_gradient {
            let mut by_logits = self.by_logits(&mut log_p, &tokens)?;
            if let Some(cap) = self.cap {
                by_logits = by_logits.f_mul_(&cap.slope(logits)?)?;
            }
            *logits = by_logits;
        }
        Ok(LogProbabilities { own, all })
    }

    /// Log-probabilities to N times the loss's gradient by the logits, in place:
    /// `p(v) − (1 − p) [v is the token] − p/V`.
    fn by_logits(&self, log_p: &mut Tensor, tokens: &Tensor) -> Result<Tensor, ModelError> {
        let mut gradient = log_p.f_exp_()?;
        if self.smoothing > 0.0 {
            gradient = gradient.f_sub_scalar_(self.smoothing / self.output.vocabulary() as f64)?;
        }
        let own = gradient.f_gather(1, tokens, false)?;
        Ok(gradient.f_scatter_(1, tokens, &own.f_sub_scalar(1.0 - self.smoothing)?)?)
    }

    /// The mean over labels, of the sums of log-probabilities: of the tokens, and of the whole
    /// vocabulary.
    fn mean(&self, [own, all]: &[Tensor; 2], labels: i64) -> Result<Tensor, ModelError> {
        let labels = labels.max(1) as f64;
        let mean = own.f_mul_scalar((self.smoothing - 1.0) / labels)?;
        if self.smoothing == 0.0 {
            return Ok(mean);
        }
        let share = self.smoothing / (labels * self.output.vocabulary() as f64);
        Ok(mean.f_sub(&all.f_mul_scalar(share)?)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::base::torch::device::Autocast;

    const SMOOTHING: [f64; 2] = [0.0, 0.1];

    fn values(shape: &[i64], step: f64) -> Tensor {
        let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
        (count * step).sin().reshape(shape)
    }

    fn close(what: &str, found: &Tensor, want: &Tensor) {
        assert_eq!(found.size(), want.size(), "{what}");
        let most = |x: &Tensor| x.abs().max().double_value(&[]);
        let miss = most(&(found - want));
        let allowed = 1e-6 * most(want).max(1.0);
        assert!(miss < allowed, "{what} misses by {miss:e}");
    }

    #[test]
    fn parts_that_are_filled_or_not_give_the_loss_and_the_gradient_of_the_whole() {
        let (output, tokens) = (
            OutputTable::of(&values(&[11, 5], 0.7)),
            Tensor::from_slice(&[3_i64, 0, 10, 3, 7, 1]),
        );
        for (rows, smoothing) in [1, 2, 3, 4, 6, 9]
            .into_iter()
            .flat_map(|rows| SMOOTHING.map(|p| (rows, p)))
        {
            let states = values(&[6, 5], 1.3).set_requires_grad(true);
            let loss = TokenLoss {
                states: &states,
                output: &output,
                cap: None,
                tokens: &tokens,
                smoothing,
            };
            let whole = loss.at_once().unwrap();
            whole.graph.backward();
            let (mean, gradient) =
                no_grad(|| loss.in_parts(&output.rounded().unwrap(), rows)).unwrap();
            let name = format!("{rows} at a time, smoothed by {smoothing}");
            close(&name, &mean, &whole.mean);
            close(&name, &gradient.unwrap(), &states.grad());
        }
    }

    /// The loss and its gradient by the states, as they are defined, by autograd in float64.
    fn exact(loss: &TokenLoss<'_>) -> [Tensor; 2] {
        let states = loss.states.detach().to_kind(Kind::Double);
        let states = states.set_requires_grad(true);
        let mut logits = states.matmul(&loss.output.table().to_kind(Kind::Double).tr());
        if let Some(SoftCap(cap)) = loss.cap {
            logits = (logits / cap).tanh() * cap;
        }
        let log_p = logits.log_softmax(-1, Kind::Double);
        let own = log_p.gather(1, &loss.tokens.unsqueeze(1), false);
        let (own, all) = (own.mean(Kind::Double), log_p.mean(Kind::Double));
        let mean = -(own * (1.0 - loss.smoothing) + all * loss.smoothing);
        mean.backward();
        [mean.detach(), states.grad()].map(|x| x.to_kind(Kind::Float))
    }

    #[test]
    fn capped_logits_give_the_loss_and_the_gradient_of_float64() {
        let (output, tokens) = (
            OutputTable::of(&(values(&[11, 5], 0.7) * 4.0)),
            Tensor::from_slice(&[3_i64, 0, 10, 3, 7, 1]),
        );
        let states = (values(&[6, 5], 1.3) * 2.0).set_requires_grad(true);
        // From a cap that most logits are beyond to one that none is near.
        for (cap, smoothing) in [0.5, 3.0, 30.0]
            .into_iter()
            .flat_map(|cap| SMOOTHING.map(|p| (cap, p)))
        {
            let loss = TokenLoss {
                states: &states,
                output: &output,
                cap: Some(SoftCap(cap)),
                tokens: &tokens,
                smoothing,
            };
            let [mean, gradient] = exact(&loss);
            for rows in [1, 4, 6] {
                let name = format!("{rows} at a time, capped at {cap}, smoothed by {smoothing}");
                let (found, by_states) =
                    no_grad(|| loss.in_parts(&output.rounded().unwrap(), rows)).unwrap();
                close(&name, &found, &mean);
                close(&name, &by_states.unwrap(), &gradient);
            }
            let whole = loss.at_once().unwrap();
            whole.graph.backward();
            close("by autograd", &states.grad(), &gradient);
            let _ = states.grad().zero_();
        }
    }

    #[test]
    fn what_a_gpu_does_in_several_passes_is_what_the_kernel_does_in_one() {
        let output = OutputTable::of(&(values(&[45, 5], 0.7) * 4.0));
        let states = values(&[6, 5], 1.3) * 2.0;
        let tokens = Tensor::from_slice(&[3_i64, 0, 44, 3, 7, 1]);
        for (cap, smoothing) in [None, Some(SoftCap(3.0))]
            .into_iter()
            .flat_map(|cap| SMOOTHING.map(|p| (cap, p)))
        {
            let loss = TokenLoss {
                states: &states,
                output: &output,
                cap,
                tokens: &tokens,
                smoothing,
            };
            let mut logits = loss.padded_logits(&output, &states).unwrap();
            let mut given = logits.copy();
            let kernel = CrossEntropy {
                tokens: &tokens,
                cap: cap.map(|SoftCap(cap)| cap),
                smoothing,
            };
            let want = kernel.compute(&mut logits, true).unwrap().unwrap();
            let found = loss.by_libtorch(&mut given, &tokens, true).unwrap();
            close("the tokens", &found.own, &want.own);
            close("the gradient", &given, &logits);
            assert_eq!(found.all.is_some(), want.all.is_some());
            if let (Some(found), Some(want)) = (found.all, want.all) {
                close("the sums", &found, &want);
            }
        }
    }

    #[test]
    fn in_bfloat16_the_loss_and_the_gradient_are_near_those_of_float64() {
        // Of a width that may be packed, and a vocabulary that zeros are put behind.
        let table = values(&[45, 64], 0.7);
        let tokens = Tensor::from_slice(&[3_i64, 0, 44, 3, 7, 1]);
        let states = values(&[6, 64], 1.3).set_requires_grad(true);
        for (output, cap) in [OutputTable::of(&table), OutputTable::packed_of(&table)]
            .iter()
            .flat_map(|output| [(output, None), (output, Some(SoftCap(3.0)))])
        {
            let loss = TokenLoss {
                states: &states,
                output,
                cap,
                tokens: &tokens,
                smoothing: 0.1,
            };
            let [mean, gradient] = exact(&loss);
            let narrow = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
            let (found, by_states) =
                no_grad(|| loss.in_parts(&output.rounded().unwrap(), 4)).unwrap();
            drop(narrow);
            for (found, want) in [(found, mean), (by_states.unwrap(), gradient)] {
                let miss = (&found - &want).abs().max().double_value(&[]);
                let largest = want.abs().max().double_value(&[]);
                assert_eq!(found.kind(), Kind::Float);
                assert!(miss < largest / 50.0, "{miss:e} of {largest}");
            }
        }
    }

    #[test]
    fn the_gradient_reaches_the_states_and_is_not_computed_where_none_is_wanted() {
        let (output, tokens) = (values(&[11, 5], 0.7), Tensor::from_slice(&[3_i64, 0]));
        let states = values(&[2, 5], 1.3);
        let loss = |states: &Tensor, output: &Tensor| {
            TokenLoss {
                states,
                output: &OutputTable::of(output),
                cap: None,
                tokens: &tokens,
                smoothing: 0.1,
            }
            .compute()
            .unwrap()
        };
        let plain = loss(&states, &output);
        assert!(!plain.graph.requires_grad() && !plain.mean.requires_grad());
        let by_states = |output: &Tensor| {
            let states = states.copy().set_requires_grad(true);
            let found = loss(&states, output);
            (found.graph * 3.0).backward();
            close("the mean", &found.mean, &plain.mean);
            states.grad()
        };
        let trained = output.copy().set_requires_grad(true);
        close("by the states", &by_states(&output), &by_states(&trained));
        assert!(trained.grad().defined(), "a trained table has a gradient");
    }

    #[test]
    fn no_tokens_have_no_loss() {
        let states = Tensor::zeros([0, 5], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let loss = TokenLoss {
            states: &states,
            output: &OutputTable::of(&values(&[11, 5], 0.7)),
            cap: None,
            tokens: &Tensor::from_slice::<i64>(&[]),
            smoothing: 0.1,
        };
        let found = loss.compute().unwrap();
        assert_eq!(found.mean.double_value(&[]), 0.0);
        found.graph.backward();
    }
}
