//! The tokenizer of a GGUF file, as the `tokenizer.json` of the same model has it.

use std::fmt::Display;

use serde_json::json;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TruncationDirection};

use crate::data::error::DataError;
use crate::data::tokenizer::ModelTokenizer;
use crate::data::tokenizer::chat::ChatTemplate;
use crate::data::tokenizer::template;
use crate::model::source::gguf::file::GgufFile;
use crate::model::source::gguf::tokenizer::{TokenKind, TokenizerParts};

/// Llama 3's pattern for pieces of text, with at most this many digits in one; Qwen2's but for
/// those.
const PIECES: (&str, &str) = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// A way to split texts before merging, by llama.cpp's name for it.
struct PreTokenizer {
    name: &'static str,
    split: fn() -> tokenizers::Result<PreTokenizerWrapper>,
    /// Whether texts are put into Unicode's form NFC first.
    compose: bool,
    /// Whether a piece that is a token is taken whole, whatever merges make of it.
    ignore_merges: bool,
    /// Whether a text gets the token at its start, unless the file says otherwise.
    add_bos: bool,
}

/// Those that are supported.
const PRE_TOKENIZERS: [PreTokenizer; 4] = [
    PreTokenizer {
        name: "gpt-2",
        split: || Ok(byte_level(true)),
        compose: false,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        name: "smollm",
        split: || Ok(sequence([Digits::new(true).into(), byte_level(true)])),
        compose: false,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        name: "llama-bpe",
        split: || Ok(sequence([pieces("{1,3}")?, byte_level(false)])),
        compose: false,
        ignore_merges: true,
        add_bos: true,
    },
    PreTokenizer {
        name: "qwen2",
        split: || Ok(sequence([pieces("")?, byte_level(false)])),
        compose: true,
        ignore_merges: false,
        add_bos: false,
    },
];

/// Bytes as letters, without a space before the text; split by GPT-2's pattern or not at all.
fn byte_level(split: bool) -> PreTokenizerWrapper {
    ByteLevel::new(false, true, split).into()
}

fn sequence(all: [PreTokenizerWrapper; 2]) -> PreTokenizerWrapper {
    Sequence::new(all.to_vec()).into()
}

/// See [`PIECES`]; `digits` says how many are together.
fn pieces(digits: &str) -> tokenizers::Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(format!("{}{digits}{}", PIECES.0, PIECES.1));
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
    Ok(split.into())
}

impl ModelTokenizer {
    /// Makes the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// If it is not byte-level BPE with a pre-tokenizer that is supported, or its tokens and merges
    /// do not fit each other or the model.
    pub fn of_gguf(file: &GgufFile) -> Result<Self, DataError> {
        let parts = file.tokenizer_parts()?;
        let tokenizer = tokenizer(&parts)?;
        let digest = blake3::hash(json_of(&tokenizer, &parts)?.as_bytes());
        Ok(Self {
            tokenizer,
            truncation: TruncationDirection::Right,
            token_types: false,
            max_length: None,
            chat: chat(file, &parts)?,
            digest,
        })
    }
}

/// The chat template of a GGUF file, if it has one.
fn chat(file: &GgufFile, parts: &TokenizerParts) -> Result<Option<ChatTemplate>, DataError> {
    let Some(source) = file.chat_template()? else {
        return Ok(None);
    };
    let tokens = roles(parts).map(|(role, token)| (role.to_owned(), token.to_owned()));
    Ok(Some(ChatTemplate {
        source: source.to_owned(),
        file: parts.path.clone(),
        tokens: tokens.collect(),
    }))
}

/// The special tokens by their roles.
fn roles(parts: &TokenizerParts) -> impl Iterator<Item = (&'static str, &str)> {
    let roles = [
        ("bos_token", parts.bos),
        ("eos_token", parts.eos),
        ("pad_token", parts.padding),
    ];
    let token = |(role, id): (&'static str, Option<u32>)| {
        Some((role, parts.tokens.get(id? as usize)?.as_str()))
    };
    roles.into_iter().filter_map(token)
}

/// The files of which transformers makes the tokenizer of a GGUF file, each with its content.
///
/// # Errors
/// As [`ModelTokenizer::of_gguf`].
pub(crate) fn files(file: &GgufFile) -> Result<[(&'static str, String); 2], DataError> {
    let parts = file.tokenizer_parts()?;
    let whole = json_of(&tokenizer(&parts)?, &parts)?;
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "model_max_length": file.config().get("max_position_embeddings"),
    });
    for (key, token) in roles(&parts) {
        config[key] = token.into();
    }
    if let Some(template) = file.chat_template()? {
        config["chat_template"] = template.into();
    }
    Ok([
        ("tokenizer.json", whole),
        ("tokenizer_config.json", format!("{config:#}\n")),
    ])
}

/// The `tokenizer.json` of a tokenizer.
fn json_of(tokenizer: &Tokenizer, parts: &TokenizerParts) -> Result<String, DataError> {
    let unusable = |error: tokenizers::Error| DataError::model(&parts.path, error.to_string());
    tokenizer.to_string(false).map_err(unusable)
}

/// Makes a tokenizer of its parts; errors as [`ModelTokenizer::of_gguf`].
fn tokenizer(parts: &TokenizerParts) -> Result<Tokenizer, DataError> {
    let wrong = |message: String| DataError::model(&parts.path, message);
    let pre = pre_tokenizer(parts).map_err(wrong)?;
    let vocabulary = vocabulary(parts).map_err(wrong)?;
    let merges = merges(parts, &vocabulary).map_err(wrong)?;
    let unusable = |error: tokenizers::Error| wrong(format!("not a tokenizer: {error}"));
    assemble(parts, pre, vocabulary, merges).map_err(unusable)
}

fn pre_tokenizer(parts: &TokenizerParts) -> Result<&'static PreTokenizer, String> {
    if parts.model != "gpt2" {
        return Err(format!(
            "key `tokenizer.ggml.model`: `{}` is not supported; supported is gpt2, byte-level BPE",
            parts.model
        ));
    }
    let name = parts.pre.as_deref().unwrap_or("default");
    let found = PRE_TOKENIZERS.iter().find(|pre| pre.name == name);
    found.ok_or_else(|| {
        let names = PRE_TOKENIZERS.map(|pre| pre.name).join(", ");
        format!("key `tokenizer.ggml.pre`: `{name}` is not supported; supported are {names}")
    })
}

/// Each token with its id.
fn vocabulary(parts: &TokenizerParts) -> Result<Vocab, String> {
    let mut ids = Vocab::default();
    for (id, token) in parts.tokens.iter().enumerate() {
        if let Some(other) = ids.insert(token.clone(), id as u32) {
            return Err(format!(
                "key `tokenizer.ggml.tokens`: tokens {other} and {id} are both {token:?}"
            ));
        }
    }
    Ok(ids)
}

/// The merges as pairs, each of which makes a token of two.
fn merges(parts: &TokenizerParts, ids: &Vocab) -> Result<Merges, String> {
    let wrong = |index: usize, merge: &str, reason: &dyn Display| {
        format!("key `tokenizer.ggml.merges`: merge {index}, {merge:?}, {reason}")
    };
    let pair = |(index, merge): (usize, &String)| {
        let (left, right) = merge
            .split_once(' ')
            .ok_or_else(|| wrong(index, merge, &"has no space between two tokens"))?;
        // The library takes these for granted.
        for token in [left, right, &format!("{left}{right}")] {
            if !ids.contains_key(token) {
                return Err(wrong(
                    index,
                    merge,
                    &format!("needs {token:?}, which is not a token"),
                ));
            }
        }
        Ok((left.to_owned(), right.to_owned()))
    };
    parts.merges.iter().enumerate().map(pair).collect()
}

fn assemble(
    parts: &TokenizerParts,
    pre: &PreTokenizer,
    vocabulary: Vocab,
    merges: Merges,
) -> tokenizers::Result<Tokenizer> {
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(pre.ignore_merges)
        .build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    if pre.compose {
        tokenizer.with_normalizer(Some(NFC))?;
    }
    tokenizer.with_pre_tokenizer(Some((pre.split)()?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.add_tokens(added(parts))?;
    let template = template_of(parts, pre)?;
    tokenizer.with_post_processor(template);
    Ok(tokenizer)
}

/// The tokens that are found as a whole: special ones, and others that were added.
fn added(parts: &TokenizerParts) -> Vec<AddedToken> {
    let token = |(token, kind): (&String, &TokenKind)| match kind {
        TokenKind::Control | TokenKind::Unknown => Some(AddedToken::from(token.clone(), true)),
        TokenKind::Added => Some(AddedToken::from(token.clone(), false).normalized(false)),
        TokenKind::Normal | TokenKind::Unused | TokenKind::Byte => None,
    };
    parts
        .tokens
        .iter()
        .zip(&parts.kinds)
        .filter_map(token)
        .collect()
}

/// The tokens around a text, where there are any.
fn template_of(
    parts: &TokenizerParts,
    pre: &PreTokenizer,
) -> tokenizers::Result<Option<TemplateProcessing>> {
    let token = |added: bool, id: Option<u32>| {
        let id = id.filter(|_| added)?;
        Some((parts.tokens.get(id as usize)?.clone(), id))
    };
    let bos = token(parts.add_bos.unwrap_or(pre.add_bos), parts.bos);
    let eos = token(parts.add_eos.unwrap_or(false), parts.eos);
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    template::around(bos, eos).map(Some)
}

#[cfg(test)]
mod tests;
