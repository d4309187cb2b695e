//! Which of a repository's files make a model.

use std::path::Path;

use crate::base::hub::names::{FileName, shown};
use crate::base::tensors::weight_map::{INDEX, WHOLE, WeightMap};

/// The files that every model has besides its weights.
const ALWAYS: [&str; 2] = ["config.json", "tokenizer.json"];

/// The files that change what `tokenizer.json` says, or have the chat template, where a model has
/// them.
pub(crate) const TOKENIZER_FILES: [&str; 5] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Whether a folder has a model: configuration, tokenizer, and weights in one file or in all that
/// the list of them names.
pub(crate) fn is_complete(snapshot: &Path) -> bool {
    let has = |file: &str| snapshot.join(file).exists();
    let has_parts = || {
        let list = WeightMap::read(&snapshot.join(INDEX));
        list.is_ok_and(|list| list.files().into_iter().all(has))
    };
    ALWAYS.into_iter().all(has) && (has(WHOLE) || has_parts())
}

/// The files of a model among those of its repository. Which parts its weights have is known once
/// the list of them is in the snapshot.
///
/// # Errors
/// If there is no model: what the repository lacks, and what it has.
pub(crate) fn choose(available: &[String], snapshot: &Path) -> Result<Vec<String>, String> {
    let has = |file: &str| available.iter().any(|it| it == file);
    if let Some(file) = ALWAYS.into_iter().find(|file| !has(file)) {
        return Err(lacks(file, available));
    }
    let beside = TOKENIZER_FILES.into_iter().filter(|file| has(file));
    let wanted = ALWAYS.into_iter().chain(beside).map(str::to_owned);
    let mut wanted: Vec<String> = wanted.collect();
    match [WHOLE, INDEX].into_iter().find(|file| has(file)) {
        Some(file) => wanted.push(file.to_owned()),
        None => return Err(lacks(&format!("{WHOLE} and no {INDEX}"), available)),
    }
    let list = snapshot.join(INDEX);
    if !has(WHOLE) && list.exists() {
        let list = WeightMap::read(&list).map_err(|error| error.to_string())?;
        if let Some(part) = list.files().into_iter().find(|file| !has(file)) {
            return Err(lacks(
                &format!("{part}, which its {INDEX} lists"),
                available,
            ));
        }
        wanted.extend(list.files().into_iter().map(str::to_owned));
    }
    Ok(wanted)
}

fn lacks(what: &str, available: &[String]) -> String {
    let remedy = match available.iter().any(|file| file.ends_with(".gguf")) {
        true => "; `--model` takes a GGUF file that is on this machine",
        false => "",
    };
    format!("it has no {what}; it has {}{remedy}", some_of(available))
}

/// The first of a repository's files, for a message.
fn some_of(files: &[String]) -> String {
    const MOST: usize = 16;
    let name = |file: &String| match FileName::parse(file) {
        Some(name) => name.as_str().to_owned(),
        None => shown(file),
    };
    let mut names: Vec<String> = files.iter().take(MOST).map(name).collect();
    if files.len() > MOST {
        names.push(format!("and {} more", files.len() - MOST));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(available: &[&str], snapshot: &Path) -> Result<String, String> {
        let available: Vec<String> = available.iter().map(|&file| file.to_owned()).collect();
        choose(&available, snapshot).map(|files| files.join(" "))
    }

    #[test]
    fn parts_are_chosen_once_their_list_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let all = ["config.json", "tokenizer.json", INDEX, "1.safetensors"];
        let first = chosen(&all, folder.path()).unwrap();
        assert_eq!(first, all[..3].join(" "));
        let list = r#"{"weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}"#;
        std::fs::write(folder.path().join(INDEX), list).unwrap();
        assert_eq!(chosen(&all, folder.path()).unwrap(), all.join(" "));
        let lacking = chosen(&all[..3], folder.path()).unwrap_err();
        assert!(
            lacking.contains("no 1.safetensors, which its model.safetensors.index.json lists"),
            "{lacking}"
        );
    }

    #[test]
    fn one_file_of_weights_is_preferred_to_parts() {
        let files = ["config.json", "tokenizer.json", WHOLE, INDEX];
        let chosen = chosen(&files, Path::new("nowhere")).unwrap();
        assert_eq!(chosen, files[..3].join(" "));
    }

    #[test]
    fn what_a_repository_lacks_is_said_with_what_it_has() {
        let files = ["config.json", "tokenizer.json", "pytorch_model.bin"];
        let error = chosen(&files, Path::new("nowhere")).unwrap_err();
        assert!(
            error.contains("no model.safetensors and no model.safetensors.index.json; it has"),
            "{error}"
        );
        let error = chosen(&["a.Q4_1.gguf"], Path::new("nowhere")).unwrap_err();
        assert!(error.contains("takes a GGUF file"), "{error}");
    }
}
