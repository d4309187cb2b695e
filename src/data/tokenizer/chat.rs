//! The chat template that a model's files have, and the special tokens that it may name.
//!
//! Where transformers (4.57) looks: `chat_template.jinja`, else `chat_template` in
//! `tokenizer_config.json`, a text or a list of texts with names. `chat_template.json`, which it
//! reads for processors, comes last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::file_error::FileError;
use crate::data::error::DataError;
use crate::data::tokenizer::added::ROLES;
use crate::data::tokenizer::arguments::{Argument, Arguments, wrong};

const KEY: &str = "chat_template";

/// The name of the template that is meant where there are several.
const DEFAULT: &str = "default";

/// A chat template, in Jinja.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Its text.
    pub source: String,
    /// The file that has it.
    pub file: PathBuf,
    /// The special tokens that it may name, by their variables.
    pub tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template in the files beside a `tokenizer.json`; `tokens` are its special tokens where
    /// the files name none.
    ///
    /// # Errors
    /// If a file cannot be read, or has templates of which none is the one that is meant.
    pub(crate) fn read(
        tokenizer: &Path,
        arguments: &Arguments,
        tokens: &[(&str, &str)],
    ) -> Result<Option<Self>, DataError> {
        let Some((source, file)) = find(tokenizer, arguments)? else {
            return Ok(None);
        };
        let named = |role: &&str| {
            let own = arguments.get(role).and_then(content);
            let of_class = || Some(tokens.iter().find(|(name, _)| name == role)?.1.to_owned());
            Some(((*role).to_owned(), own.or_else(of_class)?))
        };
        Ok(Some(Self {
            source,
            file,
            tokens: ROLES.iter().filter_map(named).collect(),
        }))
    }
}

/// The text of a special token.
fn content(argument: &Argument) -> Option<String> {
    let value = &argument.value;
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(str::to_owned)
}

/// The template's text, and the file that has it.
fn find(tokenizer: &Path, arguments: &Arguments) -> Result<Option<(String, PathBuf)>, DataError> {
    let alone = tokenizer.with_file_name("chat_template.jinja");
    if let Some(source) = text_of(&alone)? {
        return Ok(Some((source, alone)));
    }
    let config = tokenizer.with_file_name("tokenizer_config.json");
    let found = arguments.get(KEY).map(|it| &it.value);
    if let Some(value) = found.filter(|value| !value.is_null()) {
        return Ok(Some((choose(value, &config)?, config)));
    }
    let json = tokenizer.with_file_name("chat_template.json");
    let Some(text) = text_of(&json)? else {
        return Ok(None);
    };
    let whole: Value = serde_json::from_str(&text)
        .map_err(|error| DataError::model(&json, format!("not JSON: {error}")))?;
    let value = whole.get(KEY).unwrap_or(&Value::Null);
    Ok(Some((choose(value, &json)?, json)))
}

/// The text of a file; `None` if there is none.
fn text_of(path: &Path) -> Result<Option<String>, DataError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::read(path)(error).into()),
    }
}

/// The template that a value is, or that is meant of those in a list.
fn choose(value: &Value, file: &Path) -> Result<String, DataError> {
    let expected =
        "expected a template, or a list of objects with the `name` and the `template` of each";
    let Some(list) = value.as_array() else {
        let source = value.as_str().map(str::to_owned);
        return source.ok_or_else(|| wrong(file, KEY, expected));
    };
    let mut names = Vec::new();
    for entry in list {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let (Some(name), Some(source)) = (text("name"), text("template")) else {
            return Err(wrong(file, KEY, expected));
        };
        if name == DEFAULT {
            return Ok(source.to_owned());
        }
        names.push(name);
    }
    let message = format!(
        "it has the templates {}, and none is named `{DEFAULT}`; give the one to use that name",
        names.join(", ")
    );
    Err(wrong(file, KEY, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a folder with these files.
    fn found(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let tokenizer = folder.path().join("tokenizer.json");
        let arguments = Arguments::read(&tokenizer).unwrap();
        let read = ChatTemplate::read(&tokenizer, &arguments, &[("unk_token", "<unk>")]);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_is_found_where_transformers_finds_it() {
        let config = r#"{"chat_template": "B", "bos_token": "<s>", "eos_token": {"__type":
            "AddedToken", "content": "</s>"}, "pad_token": null}"#;
        let json = r#"{"chat_template": "C"}"#;
        let all = [
            ("chat_template.jinja", "A"),
            ("tokenizer_config.json", config),
            ("chat_template.json", json),
        ];
        for (first, source) in ["A", "B", "C"].into_iter().enumerate() {
            let template = found(&all[first..]).unwrap().unwrap();
            assert_eq!(template.source, source);
            assert!(template.file.ends_with(all[first].0));
        }
        let tokens = found(&all[1..]).unwrap().unwrap().tokens;
        let expected = [
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(tokens, BTreeMap::from(expected));
        assert_eq!(found(&[]).unwrap(), None);
        let null = [("tokenizer_config.json", r#"{"chat_template": null}"#)];
        assert_eq!(found(&null).unwrap(), None);
    }

    #[test]
    fn of_several_the_default_one_is_meant() {
        let list = |name: &str| {
            let config = format!(
                r#"{{"chat_template": [{{"name": "tool_use", "template": "T"}},
                {{"name": "{name}", "template": "D"}}]}}"#
            );
            found(&[("tokenizer_config.json", &config)])
        };
        assert_eq!(list("default").unwrap().unwrap().source, "D");
        let error = list("rag").unwrap_err();
        assert!(
            error.contains("`chat_template`") && error.contains("tool_use, rag"),
            "{error}"
        );
        let error = found(&[("tokenizer_config.json", r#"{"chat_template": 7}"#)]).unwrap_err();
        assert!(error.contains("expected a template"), "{error}");
    }
}
