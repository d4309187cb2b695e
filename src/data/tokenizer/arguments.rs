//! The settings in the files next to `tokenizer.json`, by key, with the file that sets them.
//!
//! transformers collects these keys as the arguments of a tokenizer's class. Which file wins
//! follows its `PreTrainedTokenizerBase._from_pretrained` (4.46.2): `tokenizer_config.json`
//! alone if it lists `added_tokens_decoder`, else `special_tokens_map.json` over it, and
//! `added_tokens.json` too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::data::error::DataError;

/// The list of special tokens that have no separate role.
pub(crate) const ADDITIONAL: &str = "additional_special_tokens";

/// The tokens that were added, in `tokenizer_config.json`.
pub(crate) const DECODER: &str = "added_tokens_decoder";

/// transformers' bound above which a `model_max_length` means that there is none.
const NO_MAXIMUM: f64 = 1e20;

/// Which file an argument comes from; tokens are written differently in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenFile {
    /// `tokenizer_config.json`.
    Config,
    /// `special_tokens_map.json`.
    SpecialTokensMap,
}

/// A value with the file and the key that it stands at.
#[derive(Debug, Clone)]
pub(crate) struct Argument {
    pub value: Value,
    pub origin: TokenFile,
    file: PathBuf,
    key: String,
}

impl Argument {
    /// An error about this value.
    pub fn wrong(&self, message: impl std::fmt::Display) -> DataError {
        wrong(&self.file, &self.key, message)
    }

    fn expected(&self, right: &str) -> DataError {
        self.wrong(format_args!("it is {}, expected {right}", self.value))
    }
}

/// An error about a file's key.
pub(crate) fn wrong(file: &Path, key: &str, message: impl std::fmt::Display) -> DataError {
    DataError::model(file, format!("`{key}`: {message}"))
}

/// The side of a text at which something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// The keys of all files that count.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: BTreeMap<String, Argument>,
    /// `additional_special_tokens` of all files, once one of them has it.
    additional: Option<Vec<Argument>>,
    /// `added_tokens.json`, if it counts.
    added: Option<(PathBuf, Map<String, Value>)>,
    /// All bytes that were read.
    digest: blake3::Hasher,
}

impl Arguments {
    /// Reads the files next to a `tokenizer.json`, all optional.
    ///
    /// # Errors
    /// If one that counts is not a JSON object.
    pub fn read(tokenizer: &Path) -> Result<Self, DataError> {
        let mut arguments = Self::default();
        let config = tokenizer.with_file_name("tokenizer_config.json");
        for (key, value) in arguments.object(&config)?.unwrap_or_default() {
            arguments.insert(&config, TokenFile::Config, key, value)?;
        }
        if !arguments.values.contains_key(DECODER) {
            let map = tokenizer.with_file_name("special_tokens_map.json");
            for (key, value) in arguments.object(&map)?.unwrap_or_default() {
                arguments.insert(&map, TokenFile::SpecialTokensMap, key, value)?;
            }
            let added = tokenizer.with_file_name("added_tokens.json");
            arguments.added = arguments.object(&added)?.map(|object| (added, object));
        }
        Ok(arguments)
    }

    fn object(&mut self, file: &Path) -> Result<Option<Map<String, Value>>, DataError> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::read(file)(error).into()),
        };
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        for part in [name, &bytes] {
            self.digest.update(&(part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| DataError::model(file, format!("not a JSON object: {error}")))
    }

    fn insert(
        &mut self,
        file: &Path,
        origin: TokenFile,
        key: String,
        value: Value,
    ) -> Result<(), DataError> {
        let argument = |value| Argument {
            value,
            origin,
            file: file.to_owned(),
            key: key.clone(),
        };
        if key != ADDITIONAL {
            self.values.insert(key.clone(), argument(value));
            return Ok(());
        }
        match value {
            Value::Array(tokens) => {
                // The lists of both files count.
                let all = self.additional.get_or_insert_default();
                for token in tokens.into_iter().map(argument) {
                    if !all.iter().any(|it| it.value == token.value) {
                        all.push(token);
                    }
                }
                Ok(())
            }
            Value::Null => {
                self.additional = Some(Vec::new());
                Ok(())
            }
            other => Err(argument(other).expected("a list of tokens")),
        }
    }

    /// The value of a key; `null` is one.
    pub fn get(&self, key: &str) -> Option<&Argument> {
        self.values.get(key)
    }

    /// The special tokens without a role, if a file has such a list.
    pub fn additional(&self) -> Option<&[Argument]> {
        self.additional.as_deref()
    }

    /// The entries of `added_tokens.json`, with the ids that it gives them.
    ///
    /// # Errors
    /// If one is not an id.
    pub fn added(&self) -> Result<Vec<(u64, &str)>, DataError> {
        let Some((file, object)) = &self.added else {
            return Ok(Vec::new());
        };
        object
            .iter()
            .map(|(token, id)| match id.as_u64() {
                Some(id) => Ok((id, token.as_str())),
                None => Err(wrong(
                    file,
                    token,
                    format_args!("it is {id}, expected a token's id"),
                )),
            })
            .collect()
    }

    /// The error about an entry of `added_tokens.json` whose id another one has.
    pub fn wrong_added(&self, token: &str, id: u64) -> DataError {
        let file = self.added.as_ref().map(|(file, _)| file.as_path());
        let file = file.unwrap_or(Path::new("added_tokens.json"));
        wrong(file, token, format_args!("another token has its id, {id}"))
    }

    /// A switch, which may not be `null`.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, DataError> {
        self.get(key).map_or(Ok(default), |it| {
            it.value
                .as_bool()
                .ok_or_else(|| it.expected("true or false"))
        })
    }

    /// A switch of three states.
    pub fn optional_flag(&self, key: &str) -> Result<Option<bool>, DataError> {
        match self.get(key) {
            Some(it) if !it.value.is_null() => match it.value.as_bool() {
                Some(flag) => Ok(Some(flag)),
                None => Err(it.expected("true, false or null")),
            },
            _ => Ok(None),
        }
    }

    /// `left` or `right`.
    pub fn side(&self, key: &str) -> Result<Option<Side>, DataError> {
        let Some(argument) = self.get(key) else {
            return Ok(None);
        };
        match argument.value.as_str() {
            Some("left") => Ok(Some(Side::Left)),
            Some("right") => Ok(Some(Side::Right)),
            _ => Err(argument.expected("\"left\" or \"right\"")),
        }
    }

    /// A name, or `None` where there is none or `null`.
    pub fn name(&self, key: &str) -> Result<Option<&str>, DataError> {
        match self.get(key) {
            Some(it) if !it.value.is_null() => match it.value.as_str() {
                Some(name) => Ok(Some(name)),
                None => Err(it.expected("a name")),
            },
            _ => Ok(None),
        }
    }

    /// A list of names.
    pub fn names(&self, key: &str) -> Result<Option<Vec<&str>>, DataError> {
        let Some(argument) = self.get(key) else {
            return Ok(None);
        };
        let names = argument.value.as_array();
        names
            .and_then(|names| names.iter().map(Value::as_str).collect())
            .map(Some)
            .ok_or_else(|| argument.expected("a list of names"))
    }

    /// `model_max_length`, by its former name too, with an error about it; `None` where the
    /// model sets no maximum.
    pub fn max_length(&self) -> Result<Option<(usize, &Argument)>, DataError> {
        let argument = self.get("model_max_length").or_else(|| self.get("max_len"));
        let Some(argument) = argument.filter(|it| !it.value.is_null()) else {
            return Ok(None);
        };
        let wrong = || argument.expected("a number of tokens, 1 or more");
        match argument.value.as_f64().ok_or_else(wrong)? {
            length if length > NO_MAXIMUM => Ok(None),
            length if length >= 1.0 && length.fract() == 0.0 => {
                Ok(Some((length as usize, argument)))
            }
            _ => Err(wrong()),
        }
    }

    /// Feeds all files that counted to a hasher.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.digest.finalize().as_bytes());
    }
}
