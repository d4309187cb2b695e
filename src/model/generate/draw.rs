//! Tokens drawn by their probabilities, from a stream of each text's own.

use rand::RngExt;
use regatta_actors::random::Stream;
use tch::{Device, Kind};

use crate::model::ModelError;
use crate::model::architecture::CausalLm;
use crate::model::generate::{Continued, Draw, Generated, Limits, not_numbers};

/// A text after each prompt.
///
/// # Errors
/// If libtorch fails.
pub(crate) fn texts(
    model: &dyn CausalLm,
    prompts: &[&[i64]],
    how: Draw,
    limits: Limits<'_>,
    mut streams: Vec<Stream>,
) -> Result<Vec<Generated>, ModelError> {
    let mut continued = Continued::begin(model, prompts)?;
    let mut texts = vec![
        Generated {
            tokens: Vec::new(),
            score: 0.0,
        };
        prompts.len()
    ];
    // The prompts whose texts have not ended, in the order of the batch's rows.
    let mut open: Vec<usize> = (0..prompts.len()).collect();
    for step in 1..=limits.max_new_tokens {
        let logits = continued.logits()?;
        let vocabulary = logits.size()[1] as usize;
        let host = logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
        let host: Vec<f64> = Vec::try_from(host.f_flatten(0, -1)?)?;
        let (mut rows, mut last, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (at, logits)) in open.iter().zip(host.chunks(vocabulary)).enumerate() {
            if logits.iter().any(|logit| logit.is_nan()) {
                return Err(not_numbers());
            }
            let (token, log_probability) = how.token(logits, &mut streams[*at]);
            texts[*at].tokens.push(token);
            texts[*at].score += log_probability;
            if !limits.end_tokens.contains(&token) {
                rows.push(row as i64);
                last.push(token);
                unfinished.push(*at);
            }
        }
        open = unfinished;
        if open.is_empty() || step == limits.max_new_tokens {
            break;
        }
        continued.go_on(&rows, &last)?;
    }
    Ok(texts)
}

impl Draw {
    /// One token, and the logarithm of the probability that it had among those it was drawn from.
    fn token(&self, logits: &[f64], stream: &mut Stream) -> (i64, f64) {
        let mut tokens: Vec<usize> = (0..logits.len()).collect();
        // Stable, so that of equals the lower number comes first.
        tokens.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        if self.top_k > 0 {
            tokens.truncate(self.top_k);
        }
        let greatest = tokens.first().map_or(0.0, |first| logits[*first]);
        let weight = |token: &usize| ((logits[*token] - greatest) / self.temperature).exp();
        let mut weights: Vec<f64> = tokens.iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0.0;
        let enough = weights.iter().position(|weight| {
            kept += weight;
            kept >= self.top_p * total
        });
        weights.truncate(enough.map_or(weights.len(), |last| last + 1));
        let total: f64 = weights.iter().sum();
        let mut left = stream.random::<f64>() * total;
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // What rounding leaves beyond the last is the last's.
        let drawn = drawn.unwrap_or(weights.len().saturating_sub(1));
        (tokens[drawn] as i64, (weights[drawn] / total).ln())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn shares(how: Draw, logits: &[f64]) -> Vec<f64> {
        let mut stream = Stream::seed_from_u64(1);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[how.token(logits, &mut stream).0 as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    const ALL: Draw = Draw {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
    };

    #[test]
    fn tokens_come_by_their_probabilities() {
        let logits = [0.5_f64.ln(), 0.3_f64.ln(), 0.2_f64.ln()];
        let found = shares(ALL, &logits);
        for (found, expected) in found.iter().zip([0.5, 0.3, 0.2]) {
            assert!((found - expected).abs() < 0.02, "{found} for {expected}");
        }
    }

    #[test]
    fn a_low_temperature_a_share_and_a_number_keep_the_likeliest() {
        let logits = [0.2_f64.ln(), 0.5_f64.ln(), 0.3_f64.ln()];
        let cold = Draw {
            temperature: 0.01,
            ..ALL
        };
        assert!(shares(cold, &logits)[1] > 0.999, "cold");
        let half = Draw { top_p: 0.5, ..ALL };
        assert!(shares(half, &logits)[1] > 0.999, "half");
        let two = shares(Draw { top_k: 2, ..ALL }, &logits);
        assert!(two[0] == 0.0 && (two[1] - 0.625).abs() < 0.02, "{two:?}");
        let most = shares(Draw { top_p: 0.7, ..ALL }, &logits);
        assert!(most[0] == 0.0 && (most[2] - 0.375).abs() < 0.02, "{most:?}");
    }

    #[test]
    fn the_log_probability_is_that_among_what_may_be_drawn() {
        let logits = [0.0, 0.0, f64::NEG_INFINITY];
        let (token, own) = ALL.token(&logits, &mut Stream::seed_from_u64(3));
        assert!(token < 2 && (own - 0.5_f64.ln()).abs() < 1e-12);
    }
}
