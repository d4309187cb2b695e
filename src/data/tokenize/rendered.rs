//! Texts that a template gives, as tokens.

use std::path::Path;

use crate::data::encoded::{Counts, EncodedSplit};
use crate::data::error::DataError;
use crate::data::rendered::RenderedText;
use crate::data::split::Split;
use crate::data::token_cache::Tokens;
use crate::data::tokenize::{CHUNK, TextEncoder};
use crate::data::tokenizer::chat::ChatTemplate;
use crate::data::tokenizer::rendered::RenderedEncoder;
use crate::data::tokenizer::special::SpecialTokens;

impl TextEncoder {
    /// The chat template in the model's files, if there is one.
    #[must_use]
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The file that has the tokenizer.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// The tokens that end a text that the model writes.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.limits.end_tokens
    }

    /// The special tokens, which templates name by their texts.
    ///
    /// # Errors
    /// If the tokenizer cannot be used.
    pub(crate) fn special_tokens(&self) -> Result<&SpecialTokens, DataError> {
        Ok(self.rendered()?.special())
    }

    /// Encodes texts as a template gives them, one for each example of a split.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text or gives what the model does not embed, and if the
    /// model has no end token.
    pub fn encode_rendered(
        &self,
        split: &Split,
        texts: &[RenderedText],
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        let end = self.end_token()?;
        let mut hasher = blake3::Hasher::new_derive_key("regatta tokens of rendered texts v2");
        hasher.update(&end.to_le_bytes());
        hasher.update(self.digest.as_bytes());
        texts.iter().for_each(|text| text.hash_into(&mut hasher));
        let tokens = || {
            let encoder = self.rendered()?;
            let mut tokens = Tokens::default();
            for chunk in texts.chunks(CHUNK) {
                let encoded = self.guarded(|| encoder.encode(chunk, end, self.max_length))?;
                encoded.iter().for_each(|text| tokens.push(text, true));
            }
            Ok(tokens)
        };
        self.with_cache(split, Counts::Answers, cache, hasher.finalize(), tokens)
    }

    /// The tokens of prompts as a template gives them, whole.
    ///
    /// # Errors
    /// As [`TextEncoder::encode_rendered`].
    pub fn encode_rendered_prompts(
        &self,
        texts: &[RenderedText],
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let (encoder, end) = (self.rendered()?, self.end_token()?);
        let encoded = self.guarded(|| encoder.encode(texts, end, usize::MAX))?;
        let ids: Vec<Vec<u32>> = encoded.into_iter().map(|text| text.ids).collect();
        let texts: Vec<String> = texts.iter().map(RenderedText::text).collect();
        self.check_prompts(texts.iter().map(String::as_str), &ids)?;
        Ok(ids)
    }

    fn rendered(&self) -> Result<&RenderedEncoder, DataError> {
        if let Some(known) = self.rendered.get() {
            return Ok(known);
        }
        let made = self.guarded(|| {
            let start = self.encoder.start_tokens()?;
            RenderedEncoder::new(self.encoder.tokenizer().clone(), start)
        })?;
        Ok(self.rendered.get_or_init(|| made))
    }
}
