//! The results of a run: the last model, the best one, and predictions for the test split.

use std::io;

use crate::adapter::peft::export::AdapterFiles;
use crate::base::file_error::FileError;
use crate::data::error::DataError;
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
pub(crate) fn write(server: &Server) -> Result<(), ResultsError> {
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
    write_predictions(server, last)
}

/// Predictions for the test splits.
fn write_predictions(server: &Server, last: &Snapshot) -> Result<(), ResultsError> {
    let experiment = &server.experiment;
    let task = &experiment.plan.data.task;
    let folder = server.folder.path_of(Artifact::Predictions);
    match (task.outputs(), &experiment.plan.generation) {
        (Outputs::Labels(labels), _) => {
            for split in &experiment.test {
                let encoded = experiment.encode(split)?;
                let logits = server.predict(last, &encoded)?.logits;
                labels.write_predictions(&logits, split, &folder)?;
            }
        }
        (Outputs::Texts(_), Some(plan)) => {
            for split in &experiment.test {
                let mut sets = experiment.prompts.iter();
                if let Some(set) = sets.find(|set| set.split == split.name()) {
                    let written = server.write_texts(last, plan, &set.prompts)?;
                    task.write_texts(&written, split, &folder)?;
                }
            }
        }
        (Outputs::Texts(_), None) => {}
    }
    Ok(())
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
