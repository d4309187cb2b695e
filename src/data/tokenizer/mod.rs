//! The tokenizer of a model's folder, as transformers makes it of `tokenizer.json` and the files
//! next to it: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`.
//!
//! * [`arguments`] reads the files next to it and decides which of them takes precedence.
//! * [`class`] knows the tokenizer classes, their defaults and what they override.
//! * [`added`] gathers the tokens to add.
//! * [`equal`] settles which of like tokens is found.
//! * [`gguf`] makes the tokenizer of a GGUF file, which has none of these files.
//! * [`chat`] finds the chat template in the model's files.
//! * [`template`] puts tokens around a text.
//! * [`token`] reads a single token.
//! * [`pairs`] encodes texts and pairs of them, [`rendered`] texts that a template gives, in which
//!   [`special`] finds the template's own special tokens, and [`leading_space`] knows where a word is
//!   the first.
//! * [`unknown`] finds the token for what a vocabulary lacks.

pub(crate) mod added;
pub(crate) mod arguments;
pub(crate) mod chat;
pub(crate) mod class;
pub(crate) mod equal;
pub(crate) mod gguf;
pub(crate) mod leading_space;
pub(crate) mod pairs;
pub(crate) mod rendered;
pub(crate) mod special;
pub(crate) mod template;
pub(crate) mod token;
pub(crate) mod unknown;

use std::path::Path;

use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use crate::base::files;
use crate::data::error::DataError;
use crate::data::tokenizer::added::Stored;
use crate::data::tokenizer::arguments::{Arguments, Side, wrong};
use crate::data::tokenizer::chat::ChatTemplate;
use crate::data::tokenizer::class::Class;

/// A tokenizer that is ready but for the length to which it cuts.
#[derive(Debug)]
pub(crate) struct ModelTokenizer {
    pub tokenizer: Tokenizer,
    /// The side at which texts that are too long are cut.
    pub truncation: TruncationDirection,
    /// Whether the model receives the text that each token belongs to.
    pub token_types: bool,
    /// The `model_max_length` of the files next to `tokenizer.json`.
    pub max_length: Option<usize>,
    /// The chat template, if the files have one.
    pub chat: Option<ChatTemplate>,
    /// Of everything in the files that tokens may depend on, and of the class.
    pub digest: blake3::Hash,
}

impl ModelTokenizer {
    /// Reads a `tokenizer.json` and the files next to it. `default_class` is the tokenizer class
    /// where `tokenizer_config.json` names none; without one either, `tokenizer.json` says all.
    ///
    /// # Errors
    /// If a file is missing or not understood, or asks for what is not supported.
    pub fn read(
        path: &Path,
        default_class: Option<&str>,
        for_decoder: bool,
    ) -> Result<Self, DataError> {
        let bytes = files::read(path)?;
        let unusable =
            |error: tokenizers::Error| DataError::model(path, format!("not a tokenizer: {error}"));
        // Before the library, which takes for granted that what it is given is JSON.
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|it| unusable(it.into()))?;
        let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(unusable)?;
        let arguments = Arguments::read(path)?;
        refuse_unsupported(&arguments, for_decoder)?;
        let class = class_of(path, &arguments, default_class)?;

        let padding = tokenizer.get_padding().map(|it| it.pad_token.as_str());
        let tokens = added::added_tokens(&stored, padding, &arguments, class)?;
        let order: Vec<&str> = stored
            .contents()
            .chain(tokens.iter().map(|it| it.content.as_str()))
            .collect();
        tokenizer.add_tokens(tokens.clone()).map_err(unusable)?;
        equal::keep_first(&mut tokenizer, &order).map_err(unusable)?;
        tokenizer.set_encode_special_tokens(arguments.flag("split_special_tokens", false)?);
        class.override_parts(&mut tokenizer, &arguments)?;

        let stored = tokenizer.get_truncation().map(|it| it.direction);
        let truncation = match arguments.side("truncation_side")? {
            Some(Side::Left) => TruncationDirection::Left,
            Some(Side::Right) => TruncationDirection::Right,
            None => stored.unwrap_or_default(),
        };
        let token_types = arguments
            .names("model_input_names")?
            .map_or(class.token_types, |names| names.contains(&"token_type_ids"));
        let max_length = max_length(&tokenizer, &arguments)?;
        let chat = ChatTemplate::read(path, &arguments, class.special)?;

        let mut hasher = blake3::Hasher::new();
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
        arguments.hash_into(&mut hasher);
        hasher.update(class.name().as_bytes());
        Ok(Self {
            tokenizer,
            truncation,
            token_types,
            max_length,
            chat,
            digest: hasher.finalize(),
        })
    }
}

fn class_of(
    path: &Path,
    arguments: &Arguments,
    default: Option<&str>,
) -> Result<&'static Class, DataError> {
    const KEY: &str = "tokenizer_class";
    let unknown = |name: &str| {
        format!(
            "{name} is not supported; supported, each with and without `Fast`, are {}",
            Class::all_names()
        )
    };
    match (arguments.name(KEY)?, arguments.get(KEY), default) {
        (Some(name), Some(argument), _) => {
            Class::of_name(name).ok_or_else(|| argument.wrong(unknown(name)))
        }
        (_, _, Some(name)) => {
            let config = path.with_file_name("config.json");
            Class::of_name(name).ok_or_else(|| wrong(&config, KEY, unknown(name)))
        }
        _ => Ok(Class::generic()),
    }
}

/// The tokenizer's own maximum, which has to leave room for a pair.
fn max_length(tokenizer: &Tokenizer, arguments: &Arguments) -> Result<Option<usize>, DataError> {
    let Some((length, argument)) = arguments.max_length()? else {
        return Ok(None);
    };
    let processor = tokenizer.get_post_processor();
    let special = processor.map_or(0, |it| it.added_tokens(true));
    if length < special + 2 {
        return Err(argument.wrong(format_args!(
            "{length} tokens have no room for two texts and {special} special tokens"
        )));
    }
    Ok(Some(length))
}

/// Refuses what would give other tokens, masks or positions and is not done here.
fn refuse_unsupported(arguments: &Arguments, for_decoder: bool) -> Result<(), DataError> {
    let refuse = |key: &str, message: &str| match arguments.get(key) {
        Some(argument) => Err(argument.wrong(message)),
        None => Ok(()),
    };
    if arguments.flag("from_slow", false)? {
        refuse(
            "from_slow",
            "the tokenizer is to be made of other files than tokenizer.json, which is not \
             supported; load it with Python's transformers, save it, and take that tokenizer.json",
        )?;
    }
    if arguments.name("tokenizer_file")?.is_some() {
        refuse(
            "tokenizer_file",
            "it names another file than the tokenizer.json beside it; remove the key, or put \
             that file in its place",
        )?;
    }
    let versions = arguments.names("fast_tokenizer_files")?.unwrap_or_default();
    if versions.iter().any(|name| *name != "tokenizer.json") {
        refuse(
            "fast_tokenizer_files",
            "tokenizer.json has variants for versions of transformers, which is not supported; \
             put the one that is meant in its place and remove the key",
        )?;
    }
    // A decoder sees no padding behind what it reads, and pads where it reads several texts.
    if arguments.side("padding_side")? == Some(Side::Left) && !for_decoder {
        refuse(
            "padding_side",
            "a batch is padded on the right, for a classifier reads the first token; remove the \
             key or set it to \"right\"",
        )?;
    }
    let inputs = arguments.names("model_input_names")?;
    if inputs.is_some_and(|names| !names.contains(&"attention_mask")) && !for_decoder {
        refuse(
            "model_input_names",
            "without \"attention_mask\" the model would attend to padding, which is not supported; \
             add it",
        )?;
    }
    Ok(())
}

/// For a folder without `tokenizer.json` but with the files of which transformers makes one: the
/// line of Python that does it.
pub(crate) fn conversion(folder: &Path) -> Option<String> {
    const PARTS: [&str; 7] = [
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "spiece.model",
        "spm.model",
        "tokenizer.model",
    ];
    let part = PARTS.iter().find(|name| folder.join(name).is_file())?;
    Some(format!(
        "there is {part}; in that folder, this makes a tokenizer.json of it: python3 -c 'from \
         transformers import AutoTokenizer as T; T.from_pretrained(\".\").save_pretrained(\".\")'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_parts_of_a_tokenizer_is_told_how_to_make_it_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(conversion(folder.path()), None);
        std::fs::write(folder.path().join("vocab.txt"), "[PAD]").unwrap();
        let line = conversion(folder.path()).unwrap();
        assert!(line.contains("vocab.txt") && line.contains("save_pretrained"));
    }
}
