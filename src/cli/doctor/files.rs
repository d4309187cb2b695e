//! Data sets and models where a run would look for them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::machine::{DATA_FOLDER, Host};
use crate::base::tensors::weight_map::has_weights;
use crate::cli::doctor::Findings;
use crate::model::ModelError;
use crate::model::source::files::{ModelFiles, gguf_files};
use crate::model::source::shards::WeightFiles;
use crate::tasks::registry;

/// The location of the quickstart's sentences.
const REVIEWS: &str = "data/reviews";
/// The location of models.
const MODELS: &str = "models";
/// The location of the quickstart's model.
const MINILM: &str = "models/minilm";

/// Looks for tasks in the usual folders and the one of `REGATTA_DATA`.
pub fn look_at_data(machine: &Host, findings: &mut Findings) {
    let variable = machine.data_variable.as_deref().map(Path::new);
    let usual = [REVIEWS, DATA_FOLDER].map(Path::new);
    for folder in usual.into_iter().chain(variable) {
        let found = tasks(folder);
        if !found.is_empty() {
            let folder = folder.display();
            findings.found("data", format!("{folder}: {}", found.join(", ")));
        }
    }
    if tasks(Path::new(REVIEWS)).is_empty() {
        findings.trouble(format!(
            "no data in {REVIEWS} for the quickstart; `make setup` fetches it"
        ));
    }
    let Some(folder) = variable else { return };
    let place = folder.display();
    if folder.to_str().is_none() {
        findings.trouble(format!(
            "REGATTA_DATA is {place}: {}",
            crate::config::NO_TEXT
        ));
    } else if tasks(folder).is_empty() {
        findings.trouble(format!(
            "REGATTA_DATA is {place}, which holds no task folder; set it to a folder that holds \
             RTE, SST-2 and so on, or unset it"
        ));
    }
}

fn tasks(folder: &Path) -> Vec<String> {
    let tasks = registry::all().filter(|task| task.locate(folder).is_ok());
    tasks.map(|task| task.name().to_owned()).collect()
}

/// Looks for models: folders and GGUF files.
pub fn look_at_models(findings: &mut Findings) {
    let files = gguf_files(Path::new(MODELS)).unwrap_or_default();
    for path in subfolders(Path::new(MODELS)).into_iter().chain(files) {
        if let Some(text) = describe(&path) {
            findings.found("models", format!("{}: {text}", path.display()));
        }
    }
    if describe(Path::new(MINILM)).is_none() {
        findings.trouble(format!(
            "no model in {MINILM} for the quickstart; `make setup` fetches it"
        ));
    }
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The model in a folder or file in a few words; `None` when there is none.
fn describe(path: &Path) -> Option<String> {
    let described = ModelFiles::at(path).and_then(|model| {
        let weights = match &model {
            ModelFiles::Snapshot(folder) if !has_weights(folder) => return Ok(None),
            ModelFiles::Snapshot(folder) => WeightFiles::find(folder)?.files,
            ModelFiles::Gguf(file) => vec![file.path().to_owned()],
            ModelFiles::Random { .. } => Vec::new(),
        };
        let sizes = weights.iter().flat_map(fs::metadata);
        let bytes: u64 = sizes.map(|file| file.len()).sum();
        let summary = model.architecture()?.summary();
        Ok(Some(format!(
            "{summary}, {} MB of weights",
            bytes / 1_000_000
        )))
    });
    match described {
        Ok(text) => text,
        Err(ModelError::NoConfig(_)) => None,
        Err(error) => Some(format!("cannot be used: {error}")),
    }
}
