//! Tokens as written in the files next to `tokenizer.json`.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::data::error::DataError;
use crate::data::tokenizer::arguments::{Argument, TokenFile};

/// A token with all its properties.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenSpec {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    /// `None`: unless it is special.
    pub normalized: Option<bool>,
    pub special: bool,
}

impl TokenSpec {
    pub fn named(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            ..Self::default()
        }
    }

    pub fn resolved(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }

    pub fn parse(object: &Map<String, Value>, argument: &Argument) -> Result<Self, DataError> {
        let flag = |key: &str| match object.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => {
                Err(argument.wrong(format_args!("`{key}` is {other}, expected true or false")))
            }
        };
        let content = object.get("content").and_then(Value::as_str);
        Ok(Self {
            content: content
                .ok_or_else(|| argument.wrong("a token has no `content`, its text"))?
                .to_owned(),
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?,
            special: flag("special")?.unwrap_or(false),
        })
    }
}

impl From<&AddedToken> for TokenSpec {
    fn from(token: &AddedToken) -> Self {
        Self {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: Some(token.normalized),
            special: token.special,
        }
    }
}

/// A special token as it was given: by its name, or with all its properties.
#[derive(Debug, Clone)]
pub(crate) enum Special {
    Named(String),
    Token(TokenSpec),
}

impl Special {
    /// `None` for `null`.
    pub fn parse(argument: &Argument) -> Result<Option<Self>, DataError> {
        match (&argument.value, argument.origin) {
            (Value::Null, _) => Ok(None),
            (Value::String(name), _) => Ok(Some(Self::Named(name.clone()))),
            (Value::Object(object), TokenFile::SpecialTokensMap) => {
                let token = TokenSpec::parse(object, argument)?;
                Ok(Some(Self::Token(TokenSpec {
                    special: true,
                    ..token
                })))
            }
            (Value::Object(object), TokenFile::Config)
                if object.get("__type").and_then(Value::as_str) == Some("AddedToken") =>
            {
                Ok(Some(Self::Token(TokenSpec::parse(object, argument)?)))
            }
            (other, _) => Err(argument.wrong(format_args!(
                "it holds {other}, expected a token's text, or an object with \
                 \"__type\": \"AddedToken\" and \"content\""
            ))),
        }
    }

    pub fn content(&self) -> &str {
        match self {
            Self::Named(content) => content,
            Self::Token(token) => &token.content,
        }
    }
}
