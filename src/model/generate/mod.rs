//! Text from a language model, token by token: greedy, by beam search, or drawn.
//!
//! | file | holds |
//! |---|---|
//! | `beams` | beam search; greedy is a beam of one |
//! | `ngrams` | tokens that would repeat an n-gram |
//! | `draw` | tokens drawn by their probabilities |
//!
//! Prompts of one length are read together, and all texts are continued together, each attending to
//! its own tokens alone: nothing is padded.

pub(crate) mod beams;
pub(crate) mod draw;
pub(crate) mod ngrams;

use regatta_actors::random::Stream;
use tch::{Tensor, no_grad};

use crate::model::ModelError;
use crate::model::architecture::CausalLm;
use crate::model::decoder::cache::KvCache;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decoding {
    /// The likeliest.
    Greedy,
    /// By beam search.
    Beams(BeamSearch),
    /// Drawn.
    Draw(Draw),
}

/// Beam search as microsoft/LoRA's E2E decoder has it: finished texts leave the beams and compete
/// with the best so far; there is no early stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamSearch {
    /// Beams that are followed; at least 1.
    pub width: usize,
    /// A text's score is its log-probability by its length to this power.
    pub length_penalty: f64,
    /// No n-gram of this length occurs twice in a text; 0: all may.
    pub no_repeat_ngram: usize,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Logits are divided by it; above 0.
    pub temperature: f64,
    /// The likeliest tokens that have this share of the probability together; 1: all.
    pub top_p: f64,
    /// At most N of the likeliest tokens; 0: all.
    pub top_k: usize,
}

/// When a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits<'a> {
    /// Tokens that end it, and belong to it.
    pub end_tokens: &'a [i64],
    /// The most tokens after the prompt.
    pub max_new_tokens: usize,
}

/// A text that a model wrote after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Its tokens, without the prompt's, with the end token if it has one.
    pub tokens: Vec<i64>,
    /// The log-probability of the tokens; by beam search, its [score](BeamSearch::length_penalty).
    pub score: f64,
}

/// Writes a text after each prompt, at most `batch` prompts at a time. `stream` gives each prompt's
/// own stream of random numbers, by its position; only [`Decoding::Draw`] takes any.
///
/// # Errors
/// If a prompt is empty, the model's logits are not numbers, or libtorch fails.
pub fn generate(
    model: &dyn CausalLm,
    prompts: &[Vec<i64>],
    decoding: Decoding,
    limits: Limits<'_>,
    batch: usize,
    stream: impl Fn(usize) -> Stream,
) -> Result<Vec<Generated>, ModelError> {
    if let Some(empty) = prompts.iter().position(Vec::is_empty) {
        return Err(ModelError::Refused(format!(
            "prompt {} has no token to begin from",
            empty + 1
        )));
    }
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|at| prompts[*at].len());
    let mut texts = vec![None; prompts.len()];
    for positions in order.chunks(batch.max(1)) {
        let some: Vec<&[i64]> = positions.iter().map(|at| &*prompts[*at]).collect();
        let written = no_grad(|| match decoding {
            Decoding::Greedy => beams::search(model, &some, GREEDY, limits),
            Decoding::Beams(search) => beams::search(model, &some, search, limits),
            Decoding::Draw(how) => {
                let streams = positions.iter().map(|at| stream(*at)).collect();
                draw::texts(model, &some, how, limits, streams)
            }
        })?;
        for (at, text) in positions.iter().zip(written) {
            texts[*at] = Some(text);
        }
    }
    let missing = || ModelError::Refused("a prompt was left without a text".to_owned());
    texts
        .into_iter()
        .map(|text| text.ok_or_else(missing))
        .collect()
}

/// Texts that are continued together.
struct Continued<'a> {
    model: &'a dyn CausalLm,
    cache: KvCache,
    /// The last hidden state of each, (texts, hidden).
    hidden: Tensor,
}

impl<'a> Continued<'a> {
    /// A text for each prompt, in their order.
    fn begin(model: &'a dyn CausalLm, prompts: &[&[i64]]) -> Result<Self, ModelError> {
        let mut cache = KvCache::default();
        let mut hidden = Vec::new();
        for same in prompts.chunk_by(|a, b| a.len() == b.len()) {
            let ids = Tensor::f_from_slice(&same.concat())?.f_view([same.len() as i64, -1])?;
            hidden.push(model.read_prompts(&ids.f_to_device(model.device())?, &mut cache)?);
        }
        let hidden = Tensor::f_cat(&hidden, 0)?;
        Ok(Self {
            model,
            cache,
            hidden,
        })
    }

    /// Goes on with these texts, in this order, each with a token; one may go on as several.
    fn go_on(&mut self, texts: &[i64], tokens: &[i64]) -> Result<(), ModelError> {
        self.cache.select(texts)?;
        let ids = Tensor::f_from_slice(tokens)?.f_to_device(self.model.device())?;
        self.hidden = self.model.read_next(&ids, &mut self.cache)?;
        Ok(())
    }

    /// The logits of each text's next token, (texts, vocabulary).
    fn logits(&self) -> Result<Tensor, ModelError> {
        self.model.logits(&self.hidden)
    }
}

/// No text can be made of logits that are not numbers.
fn not_numbers() -> ModelError {
    ModelError::Refused(
        "the model's logits are not numbers; its weights, or what training made of them, are not \
         sound"
            .to_owned(),
    )
}

/// A beam of one, whose score is the log-probability.
const GREEDY: BeamSearch = BeamSearch {
    width: 1,
    length_penalty: 0.0,
    no_repeat_ngram: 0,
};
