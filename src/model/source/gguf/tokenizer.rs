//! The parts of a tokenizer, as a GGUF file has them. `data::tokenizer::gguf` makes one of them.

use std::path::PathBuf;

use crate::model::source::gguf::error::GgufError;
use crate::model::source::gguf::metadata::GgufMetadata;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text that merges make.
    Normal,
    /// The one for text that the vocabulary lacks.
    Unknown,
    /// A special token, such as the one at the end of a text.
    Control,
    /// A piece of text that was added to the vocabulary and is found as a whole.
    Added,
    /// A place that nothing uses.
    Unused,
    /// A single byte.
    Byte,
}

/// The parts of a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerParts {
    /// The file, for errors.
    pub path: PathBuf,
    /// The algorithm: `gpt2` is byte-level BPE, `llama` is SentencePiece.
    pub model: String,
    /// How texts are split before merging, by llama.cpp's name for it.
    pub pre: Option<String>,
    /// The tokens by id.
    pub tokens: Vec<String>,
    /// What each token is.
    pub kinds: Vec<TokenKind>,
    /// Pairs to merge, the first first, each with a space between its two.
    pub merges: Vec<String>,
    /// The token at the start of a text.
    pub bos: Option<u32>,
    /// The token at its end.
    pub eos: Option<u32>,
    /// The token that pads.
    pub padding: Option<u32>,
    /// Whether a text gets the token at its start; `None` leaves it to the pre-tokenizer's kind.
    pub add_bos: Option<bool>,
    /// Whether a text gets the token at its end.
    pub add_eos: Option<bool>,
}

impl TokenizerParts {
    /// Takes the parts out of the metadata.
    ///
    /// # Errors
    /// If the model or the tokens are missing, a value is of another type, or an id is that of no
    /// token.
    pub(crate) fn read(metadata: &GgufMetadata) -> Result<Self, GgufError> {
        let model = "tokenizer.ggml.model";
        let tokens = "tokenizer.ggml.tokens";
        let model = metadata.required(model, metadata.text(model)?)?.to_owned();
        let tokens = metadata.required(tokens, metadata.texts(tokens)?)?;
        let kinds = kinds(metadata, tokens.len())?;
        let id = |name: &str| token_id(metadata, name, tokens.len());
        Ok(Self {
            path: metadata.path().to_owned(),
            model,
            pre: metadata.text("tokenizer.ggml.pre")?.map(str::to_owned),
            bos: id("bos")?,
            eos: id("eos")?,
            padding: id("padding")?,
            merges: metadata.texts("tokenizer.ggml.merges")?.unwrap_or_default(),
            add_bos: metadata.flag("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.flag("tokenizer.ggml.add_eos_token")?,
            tokens,
            kinds,
        })
    }
}

/// What each of N tokens is, by the numbers of `llama_token_type`.
fn kinds(metadata: &GgufMetadata, tokens: usize) -> Result<Vec<TokenKind>, GgufError> {
    let key = "tokenizer.ggml.token_type";
    let numbers = metadata.required(key, metadata.integers(key)?)?;
    if numbers.len() != tokens {
        let reason = format!(
            "it has {} numbers, expected one for each of the {tokens} tokens",
            numbers.len()
        );
        return Err(metadata.wrong(key, reason));
    }
    let kind = |(token, number): (usize, &i64)| match number {
        1 => Ok(TokenKind::Normal),
        2 => Ok(TokenKind::Unknown),
        3 => Ok(TokenKind::Control),
        4 => Ok(TokenKind::Added),
        5 => Ok(TokenKind::Unused),
        6 => Ok(TokenKind::Byte),
        other => {
            let reason = format!("token {token} has the unknown type {other}, expected 1 to 6");
            Err(metadata.wrong(key, reason))
        }
    };
    numbers.iter().enumerate().map(kind).collect()
}

fn token_id(metadata: &GgufMetadata, name: &str, tokens: usize) -> Result<Option<u32>, GgufError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = metadata.count(&key)? else {
        return Ok(None);
    };
    match u32::try_from(id) {
        Ok(small) if id < tokens as u64 => Ok(Some(small)),
        _ => {
            let reason = format!("it is {id}, expected a token's number, less than {tokens}");
            Err(metadata.wrong(&key, reason))
        }
    }
}
