//! Texts that the model writes.

use std::sync::atomic::{AtomicUsize, Ordering};

use regatta_actors::random::StreamKey;
use tch::Device;

use crate::base::torch;
use crate::experiment::payload::Snapshot;
use crate::experiment::prompts::{EncodedPrompt, PromptSet};
use crate::experiment::server::results::ResultsError;
use crate::experiment::server::state::Server;
use crate::model::ModelError;
use crate::model::generate::{Generated, Limits, generate};
use crate::tasks::texts::{GenerationPlan, WrittenText};

impl Server {
    /// Texts of the model at a snapshot for the first prompts of a split.
    ///
    /// Prompts of one length are read together, longest first. On a CPU each core takes some, with a
    /// copy of the model over the same weights. Which prompts are read together follows from the
    /// prompts alone, so a text does not depend on the number of cores.
    ///
    /// # Errors
    /// If libtorch fails, or tokens are no text.
    pub(crate) fn write_texts(
        &self,
        snapshot: &Snapshot,
        plan: &GenerationPlan,
        set: &PromptSet,
        first: usize,
    ) -> Result<Vec<WrittenText>, ResultsError> {
        let prompts = &set.prompts[..first.min(set.prompts.len())];
        let batches = batches(
            prompts,
            self.experiment.plan.training.eval_batch_size as usize,
        );
        let workers = match self.compute.device {
            Device::Cpu => torch::threads::cores().min(batches.len()),
            _ => 1,
        };
        let next = AtomicUsize::new(0);
        let work = |()| -> Result<Vec<(usize, Generated)>, ModelError> {
            let replica = self.replica(snapshot)?;
            let mut written = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let texts = self.read(&*replica.model, prompts, batch, plan, set)?;
                written.extend(batch.iter().copied().zip(texts));
            }
            Ok(written)
        };
        let written = torch::threads::in_parallel(vec![(); workers], work).into_iter();
        let mut written = written.collect::<Result<Vec<_>, _>>()?.concat();
        written.sort_by_key(|(at, _)| *at);
        let text = |(at, generated): (usize, Generated)| -> Result<WrittenText, ResultsError> {
            let prompt = &prompts[at];
            let ids = generated
                .tokens
                .iter()
                .filter_map(|id| u32::try_from(*id).ok());
            let text = self.experiment.encoder.decode(&ids.collect::<Vec<_>>())?;
            Ok(WrittenText {
                prompt: prompt.text.clone(),
                text: text.trim().to_owned(),
                score: generated.score,
                references: prompt.references.clone(),
            })
        };
        written.into_iter().map(text).collect()
    }

    /// Texts for prompts of one length.
    fn read(
        &self,
        model: &dyn crate::model::architecture::Model,
        prompts: &[EncodedPrompt],
        batch: &[usize],
        plan: &GenerationPlan,
        set: &PromptSet,
    ) -> Result<Vec<Generated>, ModelError> {
        let not_causal = || ModelError::Refused("the model writes no texts".to_owned());
        let model = model.as_causal().ok_or_else(not_causal)?;
        let limits = Limits {
            end_tokens: self.experiment.checkpoint.architecture.end_tokens(),
            max_new_tokens: plan.max_new_tokens as usize,
        };
        let ids: Vec<Vec<i64>> = batch.iter().map(|at| prompts[*at].ids.clone()).collect();
        let stream = |row: usize| {
            let name = format!("{}: {}", set.split, prompts[batch[row]].text);
            StreamKey {
                seed: self.experiment.plan.seed,
                purpose: "generation",
                name: &name,
                round: 0,
                attempt: 0,
            }
            .stream()
        };
        let autocast = self.compute.autocast()?;
        let written = generate(model, &ids, plan.decoding, limits, ids.len(), stream);
        drop(autocast);
        written
    }
}

/// The positions of prompts that are read together: of one length each, longest first.
fn batches(prompts: &[EncodedPrompt], most: usize) -> Vec<Vec<usize>> {
    let length = |at: &usize| prompts[*at].ids.len();
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(length(at)));
    let groups = order.chunk_by(|a, b| length(a) == length(b));
    let cut = groups.flat_map(|group| group.chunks(most.max(1)));
    cut.map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_one_length_are_read_together_as_many_as_fit() {
        let prompt = |length: usize| EncodedPrompt {
            text: String::new(),
            references: Vec::new(),
            ids: vec![0; length],
        };
        let prompts = [2, 5, 2, 3, 2].map(prompt);
        assert_eq!(
            batches(&prompts, 2),
            [vec![1], vec![3], vec![0, 2], vec![4]]
        );
        assert!(batches(&[], 2).is_empty());
    }
}
