//! A model that is named by its path: a snapshot folder or a GGUF file.

use std::path::Path;

use crate::base::tensors::conversion;
use crate::base::tensors::weight_map::{WHOLE, has_weights};
use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::data::tokenizer::conversion as tokenizer_conversion;
use crate::model::source::files::{ModelFiles, gguf_files};

/// A GGUF file, or a snapshot folder with all that it needs; `None` when a problem was reported.
pub(crate) fn local_model(path: &Path, plan: &Plan, problems: &mut Problems) -> Option<ModelFiles> {
    if !path.exists() {
        let remedy = if path.starts_with("models/minilm") {
            "`make setup` fetches it (paths are taken from the current directory)"
        } else if path.starts_with("models/smollm2") {
            "`make setup MODEL=smollm2` fetches it (paths are taken from the current directory)"
        } else {
            "name a Hugging Face snapshot or a GGUF file (paths are taken from the current \
             directory)"
        };
        problems.report("model", "there is no such folder or file", remedy);
        return None;
    }
    let model = ModelFiles::at(path)
        .map_err(|error| problems.report_error("model", error))
        .ok()?;
    let tokenizer = plan.model.tokenizer.as_deref();
    if let Some(file) = tokenizer {
        require_tokenizer(file, problems);
    }
    match &model {
        ModelFiles::Snapshot(folder) => {
            is_whole(folder, tokenizer.is_some(), problems).then_some(model)
        }
        ModelFiles::Gguf(_) | ModelFiles::Random { .. } => Some(model),
    }
}

/// Whether the tokenizer's file is there; reported if not.
pub(crate) fn require_tokenizer(file: &Path, problems: &mut Problems) -> bool {
    let right = "name a tokenizer.json (paths are taken from the current directory)";
    let is_there = file.is_file();
    problems.require(is_there, "tokenizer", "there is no such file", right);
    is_there
}

/// Whether a snapshot folder has all that it needs; a problem is reported. A tokenizer from
/// elsewhere may take the place of its own.
fn is_whole(folder: &Path, has_tokenizer: bool, problems: &mut Problems) -> bool {
    let is_there = |file: &str| match file {
        WHOLE => has_weights(folder),
        file => folder.join(file).is_file(),
    };
    let needed = ["config.json", "tokenizer.json", WHOLE].into_iter();
    let needed = needed.filter(|file| *file != "tokenizer.json" || !has_tokenizer);
    let missing: Vec<_> = needed.filter(|file| !is_there(file)).collect();
    if missing.is_empty() {
        return true;
    }
    let wrong = format_args!("the folder has no {}", missing.join(", no "));
    let pickle = "pytorch_model.bin";
    if missing.contains(&WHOLE) && folder.join(pickle).is_file() {
        let wrong = format_args!("{wrong}, but {pickle}, a Python pickle");
        problems.report("model", wrong, conversion(pickle, WHOLE));
        return false;
    }
    let gguf = gguf_files(folder).unwrap_or_default().into_iter().next();
    let conversion = tokenizer_conversion(folder);
    let conversion = conversion.filter(|_| missing.contains(&"tokenizer.json"));
    let right = match (conversion, gguf.filter(|_| missing.contains(&WHOLE))) {
        (_, Some(file)) => format!("name the GGUF file itself, {}", file.display()),
        (Some(conversion), None) => conversion,
        (None, None) if missing[..] == ["tokenizer.json"] => "name one with --tokenizer".to_owned(),
        (None, None) => "name a Hugging Face snapshot, which has them, or a GGUF file".to_owned(),
    };
    problems.report("model", wrong, right);
    false
}
