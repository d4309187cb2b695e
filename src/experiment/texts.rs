//! Texts that a model writes for prompts.

use std::sync::atomic::{AtomicUsize, Ordering};

use regatta_actors::random::StreamKey;
use tch::Device;

use crate::base::torch;
use crate::data::error::DataError;
use crate::data::tokenize::TextEncoder;
use crate::experiment::prompts::EncodedPrompt;
use crate::model::ModelError;
use crate::model::architecture::Model;
use crate::model::generate::{Generated, Limits, generate};
use crate::tasks::texts::{GenerationPlan, WrittenText};
use crate::train::precision::Compute;

/// Why texts were not written.
#[derive(Debug, thiserror::Error)]
pub enum WritingError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its tokens are no text.
    #[error(transparent)]
    Tokens(#[from] DataError),
}

/// How a model writes texts.
#[derive(Debug, Clone, Copy)]
pub struct TextWriter<'a> {
    /// How each token is chosen.
    pub plan: &'a GenerationPlan,
    /// Its tokenizer.
    pub encoder: &'a TextEncoder,
    /// Tokens that end a text.
    pub end_tokens: &'a [i64],
    /// Texts that are written together at most.
    pub batch: usize,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Where and in which kind it computes.
    pub compute: Compute,
}

impl TextWriter<'_> {
    /// Writes a text for each prompt.
    ///
    /// Texts of prompts of like lengths are written together, longest first. On a CPU each core takes
    /// some, with a copy of the model over the same weights. Which are written together follows from
    /// the prompts alone, so a text does not depend on the number of cores. `counted` is told after
    /// each batch how many are written.
    ///
    /// # Errors
    /// If there is no model, libtorch fails, or tokens are no text.
    pub fn write(
        &self,
        model: impl Fn() -> Result<Box<dyn Model>, ModelError> + Sync,
        prompts: &[EncodedPrompt],
        counted: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<WrittenText>, WritingError> {
        let batches = batches(prompts, self.batch);
        let workers = match self.compute.device {
            Device::Cpu => torch::threads::cores().min(batches.len()),
            _ => 1,
        };
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |()| -> Result<Vec<(usize, Generated)>, ModelError> {
            let model = model()?;
            let mut written = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let texts = self.read(&*model, prompts, batch)?;
                written.extend(batch.iter().copied().zip(texts));
                counted(done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len());
            }
            Ok(written)
        };
        let written = torch::threads::in_parallel(vec![(); workers], work).into_iter();
        let mut written = written.collect::<Result<Vec<_>, _>>()?.concat();
        written.sort_by_key(|(at, _)| *at);
        let text = |(at, generated): (usize, Generated)| self.text(&prompts[at], &generated);
        written.into_iter().map(text).collect()
    }

    /// What a model gives for the prompts of a batch.
    fn read(
        &self,
        model: &dyn Model,
        prompts: &[EncodedPrompt],
        batch: &[usize],
    ) -> Result<Vec<Generated>, ModelError> {
        let writes_none = || ModelError::Refused("the model writes no texts".to_owned());
        let model = model.as_causal().ok_or_else(writes_none)?;
        let limits = Limits {
            end_tokens: self.end_tokens,
            max_new_tokens: self.plan.max_new_tokens as usize,
        };
        let ids: Vec<Vec<i64>> = batch.iter().map(|at| prompts[*at].ids.clone()).collect();
        // A prompt's own, so that what is drawn for it does not depend on the others.
        let stream = |row: usize| {
            StreamKey {
                seed: self.seed,
                purpose: "generation",
                name: &prompts[batch[row]].text,
                round: 0,
                attempt: 0,
            }
            .stream()
        };
        let autocast = self.compute.autocast()?;
        let written = generate(model, &ids, self.plan.decoding, limits, ids.len(), stream);
        drop(autocast);
        written
    }

    fn text(
        &self,
        prompt: &EncodedPrompt,
        generated: &Generated,
    ) -> Result<WrittenText, WritingError> {
        let ids = generated
            .tokens
            .iter()
            .filter_map(|id| u32::try_from(*id).ok());
        let text = self.encoder.decode(&ids.collect::<Vec<_>>())?;
        Ok(WrittenText {
            prompt: prompt.text.clone(),
            text: text.trim().to_owned(),
            score: generated.score,
            references: prompt.references.clone(),
        })
    }
}

/// The positions of prompts whose texts are written together: of like lengths, longest first.
fn batches(prompts: &[EncodedPrompt], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(prompts[*at].ids.len()));
    order.chunks(most.max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_prompts_of_like_lengths_are_written_together_as_many_as_fit() {
        let prompt = |length: usize| EncodedPrompt {
            text: String::new(),
            references: Vec::new(),
            ids: vec![0; length],
        };
        let prompts = [2, 5, 2, 3, 2].map(prompt);
        let expected = [vec![1, 3], vec![0, 2], vec![4]];
        assert_eq!(batches(&prompts, 2), expected);
        assert!(batches(&[], 2).is_empty());
    }
}
