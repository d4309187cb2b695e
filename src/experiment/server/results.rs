//! The results of a run: the last model, the best one, and predictions for the test split.

use std::io;

use crate::adapter::peft::export::AdapterFiles;
use crate::base::file_error::FileError;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::experiment::payload::Snapshot;
use crate::experiment::server::state::Server;
use crate::experiment::texts::WritingError;
use crate::model::ModelError;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::tasks::Outputs;

/// An error of scores and results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The run's folder was deleted, moved or replaced.
    #[error(transparent)]
    Folder(#[from] io::Error),
    /// The model could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A prediction could not be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A text could not be written.
    #[error(transparent)]
    Texts(#[from] WritingError),
    /// Predictions could not be written.
    #[error(transparent)]
    Predictions(#[from] DataError),
}

/// Writes `adapter/`, `base_delta.safetensors` and `predictions/` of the last state, and the first
/// two of the best under `best/` where an earlier round scored better.
///
/// `predicted` is told how many examples are predicted, of how many.
pub(crate) fn write(
    server: &Server,
    predicted: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), ResultsError> {
    server.folder.check()?;
    let last = &server.snapshot;
    write_model(server, last, &server.folder)?;
    if let Some(best) = server
        .best
        .as_ref()
        .filter(|best| best.state.rounds != last.rounds)
    {
        tracing::info!(
            round = best.round,
            score = best.score,
            "the best model is in best/"
        );
        let folder = RunFolder::at(&server.folder.path_of(Artifact::Best));
        write_model(server, &best.state, &folder)?;
    }
    write_predictions(server, last, predicted)
}

/// Predictions for the test splits, unless they are not wanted.
fn write_predictions(
    server: &Server,
    last: &Snapshot,
    predicted: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), ResultsError> {
    let experiment = &server.experiment;
    if !experiment.plan.predict {
        return Ok(());
    }
    let task = &experiment.plan.data.task;
    let folder = server.folder.path_of(Artifact::Predictions);
    match (task.outputs(), &experiment.plan.generation) {
        (Outputs::Labels(labels), _) => {
            let splits = &experiment.test;
            let mut count = Count::of(splits.iter().map(Split::len).sum(), predicted);
            for split in splits {
                let encoded = experiment.encode(split)?;
                let counted = |done| count.tell(done);
                let logits = server.predict(last, &encoded, &counted)?.logits;
                count.before += split.len();
                labels.write_predictions(&logits, split, &folder)?;
            }
        }
        (Outputs::Texts(_), Some(plan)) => {
            let prompts_of = |split: &Split| {
                let mut sets = experiment.prompts.iter();
                sets.find(|set| set.split == split.name())
            };
            let tests = experiment.test.iter();
            let tests = tests.filter_map(|split| Some((split, prompts_of(split)?)));
            let total = tests.clone().map(|(_, set)| set.prompts.len()).sum();
            let mut count = Count::of(total, predicted);
            for (split, set) in tests {
                let counted = |done| count.tell(done);
                let written = server.write_texts(last, plan, &set.prompts, &counted)?;
                count.before += set.prompts.len();
                task.write_texts(&written, split, &folder)?;
            }
        }
        (Outputs::Texts(_), None) => {}
    }
    Ok(())
}

/// How many examples of all splits are predicted.
struct Count<'a> {
    /// Those of the splits before this one.
    before: usize,
    total: usize,
    predicted: &'a (dyn Fn(u64, u64) + Sync),
}

impl<'a> Count<'a> {
    /// Tells at once that there are predictions to wait for.
    fn of(total: usize, predicted: &'a (dyn Fn(u64, u64) + Sync)) -> Self {
        let count = Self {
            before: 0,
            total,
            predicted,
        };
        count.tell(0);
        count
    }

    /// Tells how far it is, with that many of this split done.
    fn tell(&self, done: usize) {
        if self.total > 0 {
            (self.predicted)((self.before + done) as u64, self.total as u64);
        }
    }
}

/// `folder` is the run's, or the one in it that is laid out like it for the best model.
fn write_model(server: &Server, state: &Snapshot, folder: &RunFolder) -> Result<(), ResultsError> {
    let experiment = &server.experiment;
    let mut files = AdapterFiles::of(
        &experiment.plan.adapter,
        &experiment.plan.model.source,
        &experiment.objective,
        &state.trained,
    )
    .with_drawn(&experiment.checkpoint)
    .with_tied_output(&*experiment.checkpoint.architecture);
    if experiment.plan.adapter.save_projection
        && let Some(projection) = experiment.adapter.projection()
    {
        files = files.with_projection(projection);
    }
    files.write(&folder.path_of(Artifact::Adapter))?;
    let delta = folder.path_of(Artifact::BaseDelta);
    Ok(state.base_delta.write(&delta)?)
}
