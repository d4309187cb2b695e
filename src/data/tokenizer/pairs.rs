//! Texts and pairs of them to token ids, as transformers' call with a list of texts,
//! `truncation=True` and a `max_length` gives them.

use tokenizers::utils::truncation::truncate_encodings;
use tokenizers::{
    EncodeInput, Encoding, PostProcessor, PostProcessorWrapper, Tokenizer, TruncationDirection,
    TruncationParams, TruncationStrategy,
};

/// One text or two: the second is `None` where there is one.
pub(crate) type Texts<'a> = (&'a str, Option<&'a str>);

/// A text's or a pair's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Whether something was cut off.
    pub cut: bool,
}

/// Encodes texts and cuts them to one length.
///
/// The `tokenizers` library would do all of this in one call, but not as transformers has it:
/// `encode_batch_fast` gives all tokens type 0 and leaves it to a post-processor to set others,
/// and the library's newer versions stop reading a text once it has enough tokens, so that of two
/// texts that are both too long they no longer know which is longer, to which the odd token is
/// due. So each text is encoded alone and whole, and then typed, cut, and joined.
#[derive(Debug)]
pub(crate) struct PairEncoder {
    /// Without truncation, padding and post-processor.
    tokenizer: Tokenizer,
    post_processor: Option<PostProcessorWrapper>,
    max_length: usize,
    direction: TruncationDirection,
}

impl PairEncoder {
    /// Takes a tokenizer, whose own truncation and padding do not count: as in transformers, the
    /// call decides on them.
    pub fn new(
        mut tokenizer: Tokenizer,
        max_length: usize,
        direction: TruncationDirection,
    ) -> tokenizers::Result<Self> {
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        let post_processor = tokenizer.get_post_processor().cloned();
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self {
            tokenizer,
            post_processor,
            max_length,
            direction,
        })
    }

    /// The special tokens that a text or a pair is given.
    pub fn special_tokens(&self, pair: bool) -> usize {
        self.post_processor
            .as_ref()
            .map_or(0, |it| it.added_tokens(pair))
    }

    /// The text of a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Encodes all, on all cores. An empty second text makes a pair like any other.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode(&self, all: &[Texts<'_>]) -> tokenizers::Result<Vec<Encoded>> {
        let texts: Vec<EncodeInput<'_>> = all
            .iter()
            .flat_map(|(first, second)| std::iter::once(first).chain(second))
            .map(|text| EncodeInput::Single((*text).into()))
            .collect();
        let mut encodings = self.tokenizer.encode_batch_fast(texts, false)?.into_iter();
        let missing = || "the tokenizer lost a text";
        all.iter()
            .map(|(_, second)| {
                let first = encodings.next().ok_or_else(missing)?;
                let second = match second {
                    Some(_) => Some(encodings.next().ok_or_else(missing)?),
                    None => None,
                };
                self.join(first, second)
            })
            .collect()
    }

    /// Encodes prompts and answers, each alone, on all cores: the tokens that the tokenizer puts
    /// before a text, the prompt's, and, of type 1, the answer's and the end token, cut at the right.
    /// What is left out of an example is the end of its answer, and with it the end token.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode_answers(
        &self,
        all: &[(&str, &str)],
        end: u32,
    ) -> tokenizers::Result<Vec<Encoded>> {
        let start = self.start_tokens()?;
        let texts = all.iter().flat_map(|(prompt, answer)| [*prompt, *answer]);
        let texts = texts.map(|text| EncodeInput::Single(text.into())).collect();
        let encodings = self.tokenizer.encode_batch_fast(texts, false)?;
        let join = |pair: &[Encoding]| {
            let [prompt, answer] = pair else {
                return Err("the tokenizer lost a text".into());
            };
            let mut ids = start.clone();
            ids.extend(prompt.get_ids());
            let first = ids.len();
            ids.extend(answer.get_ids());
            ids.push(end);
            let cut = ids.len() > self.max_length;
            ids.truncate(self.max_length);
            let type_ids = (0..ids.len()).map(|at| u32::from(at >= first)).collect();
            Ok(Encoded { ids, type_ids, cut })
        };
        encodings.chunks(2).map(join).collect()
    }

    /// The tokens of prompts: those that the tokenizer puts before a text, and the text's.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode_prompts(&self, prompts: &[&str]) -> tokenizers::Result<Vec<Vec<u32>>> {
        let start = self.start_tokens()?;
        let texts = prompts
            .iter()
            .map(|text| EncodeInput::Single((*text).into()));
        let encodings = self.tokenizer.encode_batch_fast(texts.collect(), false)?;
        let whole = |text: Encoding| [&*start, text.get_ids()].concat();
        Ok(encodings.into_iter().map(whole).collect())
    }

    /// The text of tokens, without special ones.
    ///
    /// # Errors
    /// If the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> tokenizers::Result<String> {
        self.tokenizer.decode(ids, true)
    }

    /// The tokenizer, without truncation, padding and post-processor.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The special tokens that the post-processor puts before a text.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn start_tokens(&self) -> tokenizers::Result<Vec<u32>> {
        let Some(post_processor) = &self.post_processor else {
            return Ok(Vec::new());
        };
        let text = self.tokenizer.encode_fast("a", false)?;
        let own = text.get_ids().to_vec();
        let whole = post_processor.process(text, None, true)?;
        let is_own = |at: &usize| whole.get_ids()[*at..].starts_with(&own);
        let first = (0..whole.len()).find(is_own).unwrap_or(0);
        Ok(whole.get_ids()[..first].to_vec())
    }

    fn join(&self, first: Encoding, mut second: Option<Encoding>) -> tokenizers::Result<Encoded> {
        if let Some(second) = &mut second {
            second.set_type_ids(vec![1; second.len()]);
        }
        let special = self.special_tokens(second.is_some());
        let params = TruncationParams {
            max_length: self.max_length.saturating_sub(special),
            strategy: TruncationStrategy::LongestFirst,
            direction: self.direction,
            stride: 0,
        };
        let (mut first, mut second) = truncate_encodings(first, second, &params)?;
        // The truncated rest is not needed, and joining it is quadratic in its length.
        let mut cut = !first.take_overflowing().is_empty();
        if let Some(second) = &mut second {
            cut |= !second.take_overflowing().is_empty();
        }
        let joined = match &self.post_processor {
            Some(post_processor) => post_processor.process(first, second, true)?,
            None => Encoding::merge(std::iter::once(first).chain(second), false),
        };
        Ok(Encoded {
            ids: joined.get_ids().to_vec(),
            type_ids: joined.get_type_ids().to_vec(),
            cut,
        })
    }
}
