//! The results of a run: the last model, the best one, and predictions for the test split.

use std::io;

use crate::adapter::peft::export::AdapterFiles;
use crate::base::file_error::FileError;
use crate::data::error::DataError;
use crate::experiment::payload::Snapshot;
use crate::experiment::server::state::Server;
use crate::model::ModelError;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;

/// An error at the end of a run.
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
    /// Predictions could not be written.
    #[error(transparent)]
    Predictions(#[from] DataError),
}

/// Writes `adapter/`, `base_delta.safetensors` and `predictions/` of the last state, and the first
/// two of the best under `best/` where an earlier round scored higher.
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
    let task = &server.experiment.plan.data.task;
    for split in &server.experiment.test {
        let encoded = server.experiment.encode(split)?;
        let logits = server.predict(last, &encoded)?.logits;
        let predictions = server.folder.path_of(Artifact::Predictions);
        task.write_predictions(&logits, split, &predictions)?;
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
