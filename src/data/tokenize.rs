//! From texts to token ids, by the model's own `tokenizer.json`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::data::error::DataError;
use crate::data::limits::TokenizerLimits;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::data::token_cache::{TokenCache, Tokens};
use crate::data::tokenizer::ModelTokenizer;
use crate::data::tokenizer::pairs::PairEncoder;
use crate::model::source::gguf::file::GgufFile;
use crate::model::{ModelError, config};

/// Texts encoded at once; bounds the memory that full encodings (offsets, tokens, words) take.
const CHUNK: usize = 4096;

/// Encodes texts for one model at one maximum length.
#[derive(Debug)]
pub struct TextEncoder {
    encoder: PairEncoder,
    limits: TokenizerLimits,
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
            ModelTokenizer::read(path, limits.tokenizer_class.as_deref())
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
        let tokens = self.tokens(split)?;
        self.encoded(split, tokens)
    }

    /// As [`TextEncoder::encode`], from a cache folder if the same texts were encoded before.
    /// A cache that cannot be written causes a warning, not a failure.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode_cached(&self, split: &Split, cache: &Path) -> Result<EncodedSplit, DataError> {
        let cache = TokenCache::new(cache);
        let key = self.cache_key(split);
        if let Some(tokens) = cache.get(&key).filter(|tokens| tokens.len() == split.len()) {
            return self.encoded(split, tokens);
        }
        let tokens = self.tokens(split)?;
        if let Err(error) = cache.put(&key, &tokens) {
            tracing::warn!(%error, "tokens are not cached");
        }
        self.encoded(split, tokens)
    }

    fn encoded(&self, split: &Split, tokens: Tokens) -> Result<EncodedSplit, DataError> {
        self.check_ids(split, &tokens)?;
        self.limits
            .check_types(&tokens)
            .map_err(|message| self.unusable(message))?;
        Ok(EncodedSplit::new(split, tokens))
    }

    fn cache_key(&self, split: &Split) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_derive_key("regatta tokens v2");
        hasher.update(self.digest.as_bytes());
        split.hash_texts(&mut hasher);
        hasher.finalize()
    }

    fn tokens(&self, split: &Split) -> Result<Tokens, DataError> {
        let mut tokens = Tokens::default();
        let texts: Vec<_> = split.iter().map(|it| (it.text_a, it.text_b)).collect();
        for chunk in texts.chunks(CHUNK) {
            let encoded = guarded(&self.path, || {
                self.encoder.encode(chunk).map_err(|error| {
                    let message = format!("it cannot encode a text: {error}");
                    self.unusable(message)
                })
            })?;
            for example in encoded {
                tokens.ids.extend_from_slice(&example.ids);
                let type_ids = example.type_ids.iter();
                tokens.type_ids.extend(type_ids.map(|type_id| {
                    let type_id = if self.token_types { *type_id } else { 0 };
                    // No model has as many types as a byte counts; what is larger stays larger than
                    // all.
                    u8::try_from(type_id).unwrap_or(u8::MAX)
                }));
                tokens.ends.push(tokens.ids.len() as u64);
                tokens.truncated += u64::from(example.cut);
            }
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
        let id = tokens.ids[at];
        let name = self.encoder.token(id);
        let name = name.map_or_else(String::new, |name| format!(" ({name:?})"));
        let example = tokens.ends.partition_point(|end| *end <= at as u64);
        Err(self.unusable(format!(
            "example {} of the {} split has the token {id}{name}, but the model of {} embeds \
             {known} (vocab_size), numbered from 0: they do not match",
            example + 1,
            split.name(),
            self.limits.model
        )))
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

/// A split as a model takes it: token ids laid end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedSplit {
    name: SplitName,
    tokens: Tokens,
    labels: Vec<f32>,
    example_ids: Vec<u32>,
}

impl EncodedSplit {
    fn new(split: &Split, tokens: Tokens) -> Self {
        Self {
            name: split.name(),
            tokens,
            labels: split.labels().to_vec(),
            example_ids: split.ids().to_vec(),
        }
    }

    /// The split's name.
    #[must_use]
    pub fn name(&self) -> SplitName {
        self.name
    }

    /// The number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels (a class's number or a score), NaN where one is secret.
    #[must_use]
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The examples' numbers, as a submission wants them.
    #[must_use]
    pub fn example_ids(&self) -> &[u32] {
        &self.example_ids
    }

    /// An example's token ids, special tokens included.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn ids(&self, position: usize) -> &[u32] {
        &self.tokens.ids[self.tokens.range(position)]
    }

    /// An example's token types: 1 for the second text where the model tells them apart.
    ///
    /// # Panics
    /// If `position >= len()`.
    #[must_use]
    pub fn type_ids(&self, position: usize) -> &[u8] {
        &self.tokens.type_ids[self.tokens.range(position)]
    }

    /// Feeds what training and scoring read of the split to a hasher: tokens and labels.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&(self.len() as u64).to_le_bytes());
        for position in 0..self.len() {
            let ids = self.ids(position);
            hasher.update(&(ids.len() as u64).to_le_bytes());
            for id in ids {
                hasher.update(&id.to_le_bytes());
            }
            hasher.update(self.type_ids(position));
            hasher.update(&self.labels[position].to_le_bytes());
        }
    }

    /// Examples that were cut to the maximum length.
    #[must_use]
    pub fn truncated(&self) -> usize {
        self.tokens.truncated as usize
    }
}
