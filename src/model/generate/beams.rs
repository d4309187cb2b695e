//! Beam search.

use std::cmp::Ordering;

use tch::Tensor;

use crate::base::torch::likeliest::likeliest;
use crate::model::ModelError;
use crate::model::architecture::CausalLm;
use crate::model::generate::ngrams::repeating;
use crate::model::generate::{BeamSearch, Continued, Generated, Limits, not_numbers};

/// A text that is being written.
#[derive(Debug, Clone)]
struct Beam {
    tokens: Vec<i64>,
    log_probability: f64,
    /// Its row in the batch that was last read.
    row: i64,
}

/// The beams of one prompt.
struct Prompt {
    beams: Vec<Beam>,
    best: Option<Generated>,
}

/// A continuation of a beam by one token.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    beam: usize,
    token: i64,
    log_probability: f64,
}

/// The best text after each prompt.
///
/// # Errors
/// If libtorch fails.
pub(crate) fn search(
    model: &dyn CausalLm,
    prompts: &[&[i64]],
    search: BeamSearch,
    limits: Limits<'_>,
) -> Result<Vec<Generated>, ModelError> {
    let mut all: Vec<Prompt> = (0..prompts.len() as i64).map(Prompt::new).collect();
    let mut texts = Continued::begin(model, prompts)?;
    for step in 1..=limits.max_new_tokens {
        let likeliest = Likeliest::of(texts.logits()?, &all, search)?;
        for prompt in &mut all {
            prompt.advance(&likeliest, search, limits)?;
        }
        let mut rows = Vec::new();
        let mut last: Vec<i64> = Vec::new();
        for beam in all.iter_mut().flat_map(|prompt| &mut prompt.beams) {
            rows.push(beam.row);
            last.extend(beam.tokens.last().copied());
            beam.row = rows.len() as i64 - 1;
        }
        if rows.is_empty() || step == limits.max_new_tokens {
            break;
        }
        texts.go_on(&rows, &last)?;
    }
    let finish = |prompt: Prompt| prompt.finish(search);
    Ok(all.into_iter().map(finish).collect())
}

/// The likeliest tokens after each row.
struct Likeliest {
    width: usize,
    tokens: Vec<i64>,
    log_probabilities: Vec<f64>,
}

impl Likeliest {
    /// Of logits (rows, vocabulary): as many tokens of each row as there are beams to be, for no
    /// more of one row can be among the best of all. A banned token leaves its probability to the
    /// others.
    fn of(mut logits: Tensor, prompts: &[Prompt], search: BeamSearch) -> Result<Self, ModelError> {
        let mut banned = (Vec::new(), Vec::new());
        for beam in prompts.iter().flat_map(|prompt| &prompt.beams) {
            for token in repeating(&beam.tokens, search.no_repeat_ngram) {
                banned.0.push(beam.row);
                banned.1.push(token);
            }
        }
        if !banned.0.is_empty() {
            let place = |values: &[i64]| Tensor::f_from_slice(values)?.f_to_device(logits.device());
            let at = [Some(place(&banned.0)?), Some(place(&banned.1)?)];
            let never = Tensor::f_full([], f64::NEG_INFINITY, (logits.kind(), logits.device()))?;
            let _ = logits.f_index_put_(&at, &never, false)?;
        }
        let width = search.width.max(1).min(logits.size()[1] as usize);
        let [tokens, log_probabilities] = likeliest(&logits, width)?;
        Ok(Self {
            width,
            tokens: Vec::try_from(tokens.f_flatten(0, -1)?)?,
            log_probabilities: Vec::try_from(log_probabilities.f_flatten(0, -1)?)?,
        })
    }

    fn after(&self, row: i64) -> impl Iterator<Item = (i64, f64)> {
        let range = row as usize * self.width..(row as usize + 1) * self.width;
        let tokens = self.tokens[range.clone()].iter().copied();
        tokens.zip(self.log_probabilities[range].iter().copied())
    }
}

impl Prompt {
    fn new(row: i64) -> Self {
        let beam = Beam {
            tokens: Vec::new(),
            log_probability: 0.0,
            row,
        };
        Self {
            beams: vec![beam],
            best: None,
        }
    }

    /// Keeps the best continuations of all beams. Those that end compete with the best so far.
    ///
    /// # Errors
    /// If nothing can follow: the logits are not numbers.
    fn advance(
        &mut self,
        likeliest: &Likeliest,
        search: BeamSearch,
        limits: Limits<'_>,
    ) -> Result<(), ModelError> {
        if self.beams.is_empty() {
            return Ok(());
        }
        let mut candidates = Vec::new();
        for (at, beam) in self.beams.iter().enumerate() {
            let next = likeliest.after(beam.row).map(|(token, own)| Continuation {
                beam: at,
                token,
                log_probability: beam.log_probability + own,
            });
            candidates.extend(next.filter(|it| it.log_probability > f64::NEG_INFINITY));
        }
        if candidates.is_empty() {
            return Err(not_numbers());
        }
        // Stable, so that of equals the earlier beam's likelier token comes first.
        candidates.sort_by(|a, b| descending(a.log_probability, b.log_probability));
        candidates.truncate(search.width.max(1));
        let before = std::mem::take(&mut self.beams);
        for candidate in candidates {
            let parent = &before[candidate.beam];
            let mut tokens = parent.tokens.clone();
            tokens.push(candidate.token);
            let beam = Beam {
                tokens,
                log_probability: candidate.log_probability,
                row: parent.row,
            };
            if limits.end_tokens.contains(&candidate.token) {
                self.compete(beam, search);
            } else {
                self.beams.push(beam);
            }
        }
        let Some(best) = &self.best else {
            return Ok(());
        };
        // Each further token only lessens the probability: a beam that could not win at the greatest
        // length never will.
        let most = limits.max_new_tokens;
        let could_win = |beam: &Beam| score(beam.log_probability, most, search) > best.score;
        if search.length_penalty >= 0.0 {
            self.beams.retain(could_win);
        }
        Ok(())
    }

    fn compete(&mut self, beam: Beam, search: BeamSearch) {
        let score = score(beam.log_probability, beam.tokens.len(), search);
        if self.best.as_ref().is_none_or(|best| score > best.score) {
            let tokens = beam.tokens;
            self.best = Some(Generated { tokens, score });
        }
    }

    /// The best text, once those that have not ended compete too.
    fn finish(mut self, search: BeamSearch) -> Generated {
        for beam in std::mem::take(&mut self.beams) {
            self.compete(beam, search);
        }
        self.best.unwrap_or(Generated {
            tokens: Vec::new(),
            score: 0.0,
        })
    }
}

fn score(log_probability: f64, length: usize, search: BeamSearch) -> f64 {
    log_probability / (length as f64).powf(search.length_penalty)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}
