//! From texts to token ids, by the model's own `tokenizer.json`; `rendered` has what a template
//! gives, `unread` what the tokenizer does not know of texts.

mod rendered;
mod unread;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokenizers::Tokenizer;

use crate::data::encoded::{Counts, EncodedSplit};
use crate::data::error::DataError;
use crate::data::limits::TokenizerLimits;
use crate::data::split::Split;
use crate::data::token_cache::{TokenCache, Tokens};
use crate::data::tokenizer::ModelTokenizer;
use crate::data::tokenizer::chat::ChatTemplate;
use crate::data::tokenizer::pairs::{Encoded, PairEncoder, Texts};
use crate::data::tokenizer::rendered::RenderedEncoder;
use crate::model::source::gguf::file::GgufFile;
use crate::model::{ModelError, config};

/// Texts encoded at once; bounds the memory that full encodings (offsets, tokens, words) take.
const CHUNK: usize = 4096;

/// Encodes texts for one model at one maximum length.
#[derive(Debug)]
pub struct TextEncoder {
    encoder: PairEncoder,
    limits: TokenizerLimits,
    /// The tokens to which texts are cut.
    max_length: usize,
    /// The model's chat template.
    chat: Option<ChatTemplate>,
    /// For texts that a template gives; made when the first comes.
    rendered: OnceLock<RenderedEncoder>,
    /// `tokenizer.json` or the GGUF file, for errors.
    path: PathBuf,
    /// Whether the model receives the text that each token belongs to.
    token_types: bool,
    /// Of the tokenizer's files, the length and whether there are types: all that tokens depend on
    /// besides the texts.
    digest: blake3::Hash,
}

impl TextEncoder {
    /// Takes `tokenizer.json`, the files next to it and `config.json` from a model's folder.
    /// Sequences, with their special tokens, are cut to `max_seq_length` tokens, or to the
    /// tokenizer's `model_max_length` where that is less: of a pair the longer text first.
    ///
    /// # Errors
    /// If a file is missing or unusable, when the tokenizer knows tokens that the model does
    /// not, or when the model has fewer positions than `max_seq_length`.
    pub fn from_model_dir(dir: &Path, max_seq_length: usize) -> Result<Self, DataError> {
        Self::new(
            &dir.join("tokenizer.json"),
            &read_limits(dir)?,
            max_seq_length,
        )
    }

    /// Takes a `tokenizer.json` and the files next to it for a model of these limits.
    ///
    /// # Errors
    /// As [`TextEncoder::from_model_dir`].
    pub fn new(
        path: &Path,
        limits: &TokenizerLimits,
        max_seq_length: usize,
    ) -> Result<Self, DataError> {
        let read = guarded(path, || {
            ModelTokenizer::read(path, limits.tokenizer_class.as_deref(), limits.is_decoder)
        })?;
        Self::of(read, path, limits, max_seq_length)
    }

    /// Takes tokenizer and limits from a GGUF file.
    ///
    /// # Errors
    /// As [`TextEncoder::from_model_dir`].
    pub fn from_gguf(file: &GgufFile, max_seq_length: usize) -> Result<Self, DataError> {
        let path = file.path();
        let architecture = file.architecture().map_err(|it| of_model(path, it))?;
        let limits = TokenizerLimits::of(path.display().to_string(), &*architecture);
        let read = guarded(path, || ModelTokenizer::of_gguf(file))?;
        Self::of(read, path, &limits, max_seq_length)
    }

    fn of(
        read: ModelTokenizer,
        path: &Path,
        limits: &TokenizerLimits,
        max_seq_length: usize,
    ) -> Result<Self, DataError> {
        check_vocabulary(&read.tokenizer, limits, path)?;
        let max_length = read
            .max_length
            .map_or(max_seq_length, |it| it.min(max_seq_length));
        let unusable = |error: tokenizers::Error| DataError::model(path, error.to_string());
        let encoder =
            PairEncoder::new(read.tokenizer, max_length, read.truncation).map_err(unusable)?;
        let (least, most) = (encoder.special_tokens(true) + 2, limits.positions);
        if !(least..=most).contains(&max_length) {
            return Err(DataError::SequenceLength {
                requested: max_seq_length,
                least,
                most,
            });
        }
        if max_length < max_seq_length {
            tracing::warn!(
                "texts are cut to {max_length} tokens, not to max_seq_length {max_seq_length}: \
                 that is the model_max_length of {}",
                path.with_file_name("tokenizer_config.json").display()
            );
        }

        let token_types = read.token_types && limits.token_types.is_some();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(max_length as u64).to_le_bytes());
        hasher.update(&[u8::from(token_types)]);
        hasher.update(read.digest.as_bytes());
        Ok(Self {
            encoder,
            limits: limits.clone(),
            max_length,
            chat: read.chat,
            rendered: OnceLock::new(),
            path: path.to_owned(),
            token_types,
            digest: hasher.finalize(),
        })
    }

    /// The token id that pads a batch.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.limits.pad_id
    }

    /// Encodes a split, on all cores. The result depends on the texts alone.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or gives what the model does not embed.
    pub fn encode(&self, split: &Split) -> Result<EncodedSplit, DataError> {
        self.encode_with(split, Counts::Labels, None)
    }

    /// Encodes a split whose second texts are answers to the first: a prompt's tokens, then its
    /// answer's, each encoded alone, and the model's end token.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`], and if the model has no end token.
    pub fn encode_answers(
        &self,
        split: &Split,
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        self.encode_with(split, Counts::Answers, cache)
    }

    /// The tokens of prompts, whole.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or gives what the model does not embed.
    pub fn encode_prompts(&self, prompts: &[&str]) -> Result<Vec<Vec<u32>>, DataError> {
        let encoded = self.guarded(|| self.encoder.encode_prompts(prompts))?;
        self.check_prompts(prompts.iter().copied(), &encoded)?;
        Ok(encoded)
    }

    /// Prompts whose tokens the model embeds.
    fn check_prompts<'a>(
        &self,
        prompts: impl Iterator<Item = &'a str>,
        encoded: &[Vec<u32>],
    ) -> Result<(), DataError> {
        let unknown = |id: &u32| *id as usize >= self.limits.vocabulary;
        for (prompt, ids) in prompts.zip(encoded) {
            if let Some(id) = ids.iter().find(|id| unknown(id)) {
                return Err(self.beyond(format_args!("the prompt {prompt:?}"), *id));
            }
        }
        Ok(())
    }

    /// The text of tokens, without special ones.
    ///
    /// # Errors
    /// If the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.guarded(|| self.encoder.decode(ids))
    }

    /// A token as the vocabulary spells it, or its number.
    #[must_use]
    pub fn spelling(&self, id: u32) -> String {
        self.encoder.token(id).unwrap_or_else(|| id.to_string())
    }

    /// As [`TextEncoder::encode`], from a cache folder if the same texts were encoded before.
    /// A cache that cannot be written causes a warning, not a failure.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode_cached(&self, split: &Split, cache: &Path) -> Result<EncodedSplit, DataError> {
        self.encode_with(split, Counts::Labels, Some(cache))
    }

    fn encode_with(
        &self,
        split: &Split,
        counts: Counts,
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        let key = self.cache_key(split, counts)?;
        self.with_cache(split, counts, cache, key, || self.tokens(split, counts))
    }

    /// The tokens of a split, from the cache if they are there under a key, else as they are made.
    fn with_cache(
        &self,
        split: &Split,
        counts: Counts,
        cache: Option<&Path>,
        key: blake3::Hash,
        make: impl FnOnce() -> Result<Tokens, DataError>,
    ) -> Result<EncodedSplit, DataError> {
        let Some(cache) = cache.map(TokenCache::new) else {
            return self.encoded(split, make()?, counts);
        };
        if let Some(tokens) = cache.get(&key).filter(|tokens| tokens.len() == split.len()) {
            return self.encoded(split, tokens, counts);
        }
        let tokens = make()?;
        if let Err(error) = cache.put(&key, &tokens) {
            tracing::warn!(%error, "tokens are not cached");
        }
        self.encoded(split, tokens, counts)
    }

    fn encoded(
        &self,
        split: &Split,
        tokens: Tokens,
        counts: Counts,
    ) -> Result<EncodedSplit, DataError> {
        self.check_ids(split, &tokens)?;
        self.limits
            .check_types(&tokens)
            .map_err(|message| self.unusable(message))?;
        Ok(EncodedSplit::new(split, tokens, counts))
    }

    fn cache_key(&self, split: &Split, counts: Counts) -> Result<blake3::Hash, DataError> {
        let mut hasher = blake3::Hasher::new_derive_key(match counts {
            Counts::Labels => "regatta tokens v2",
            Counts::Answers => "regatta tokens of answers v1",
        });
        if counts == Counts::Answers {
            hasher.update(&self.end_token()?.to_le_bytes());
        }
        hasher.update(self.digest.as_bytes());
        split.hash_texts(&mut hasher);
        Ok(hasher.finalize())
    }

    /// The token that ends an answer.
    fn end_token(&self) -> Result<u32, DataError> {
        let first = self.limits.end_tokens.first().copied();
        first.ok_or_else(|| {
            self.unusable(format!(
                "the model of {} names no token that ends a text (eos_token_id), so it could not \
                 learn to end one",
                self.limits.model
            ))
        })
    }

    /// Encodes some texts.
    fn encode_some(&self, texts: &[Texts<'_>], counts: Counts) -> Result<Vec<Encoded>, DataError> {
        if counts == Counts::Labels {
            return self.guarded(|| self.encoder.encode(texts));
        }
        let end = self.end_token()?;
        let pairs = texts
            .iter()
            .map(|text| (text.0, text.1.unwrap_or_default()));
        let pairs: Vec<_> = pairs.collect();
        self.guarded(|| self.encoder.encode_answers(&pairs, end))
    }

    fn tokens(&self, split: &Split, counts: Counts) -> Result<Tokens, DataError> {
        let mut tokens = Tokens::default();
        let types = self.token_types || counts == Counts::Answers;
        let texts: Vec<_> = split.iter().map(|it| (it.text_a, it.text_b)).collect();
        for chunk in texts.chunks(CHUNK) {
            let encoded = self.encode_some(chunk, counts)?;
            encoded.iter().for_each(|text| tokens.push(text, types));
        }
        Ok(tokens)
    }

    /// A token beyond the embedding table would be an index out of bounds in mid-training. Tokens
    /// that were added to a tokenizer may be there as long as no text contains them.
    fn check_ids(&self, split: &Split, tokens: &Tokens) -> Result<(), DataError> {
        let known = self.limits.vocabulary;
        let Some(at) = tokens.ids.iter().position(|id| *id as usize >= known) else {
            return Ok(());
        };
        let example = tokens.ends.partition_point(|end| *end <= at as u64) + 1;
        let text = format_args!("example {example} of the {} split", split.name());
        Err(self.beyond(text, tokens.ids[at]))
    }

    /// A text has a token that the model does not embed.
    fn beyond(&self, text: impl std::fmt::Display, id: u32) -> DataError {
        let name = self.encoder.token(id);
        let name = name.map_or_else(String::new, |name| format!(" ({name:?})"));
        let (model, known) = (&self.limits.model, self.limits.vocabulary);
        self.unusable(format!(
            "{text} has the token {id}{name}, but the model of {model} embeds {known} (vocab_size), \
             numbered from 0: they do not match"
        ))
    }

    /// Calls the `tokenizers` library.
    fn guarded<T>(&self, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, DataError> {
        let refused = |error| self.unusable(format!("it cannot encode a text: {error}"));
        guarded(&self.path, || work().map_err(refused))
    }

    fn unusable(&self, message: String) -> DataError {
        DataError::model(&self.path, message)
    }
}

/// Calls the `tokenizers` library, which asserts some of what a damaged file may break. Nothing of
/// what `work` changes is used after a panic.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let wrong = "it is corrupt, or not a supported tokenizer";
        Err(DataError::model(path, wrong))
    })
}

fn read_limits(dir: &Path) -> Result<TokenizerLimits, DataError> {
    let path = dir.join("config.json");
    let architecture = config::read(&path).map_err(|error| of_model(&path, error))?;
    Ok(TokenizerLimits::of(
        path.display().to_string(),
        &*architecture,
    ))
}

/// The error of reading a model's configuration from a file.
fn of_model(path: &Path, error: ModelError) -> DataError {
    match error {
        ModelError::File(error) => DataError::Model(error),
        other => DataError::model(path, other.to_string()),
    }
}

/// A vocabulary beyond the embedding table is another model's.
fn check_vocabulary(
    tokenizer: &Tokenizer,
    limits: &TokenizerLimits,
    path: &Path,
) -> Result<(), DataError> {
    let tokens = tokenizer
        .get_vocab(false)
        .into_values()
        .max()
        .map_or(0, |id| id as usize + 1);
    if tokens <= limits.vocabulary {
        return Ok(());
    }
    let wrong = format!(
        "it has {tokens} tokens, but the model of {} embeds {}: they do not match",
        limits.model, limits.vocabulary
    );
    Err(DataError::model(path, wrong))
}
