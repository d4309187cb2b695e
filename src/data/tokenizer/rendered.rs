//! From rendered texts to token ids.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{EncodeInput, Encoding, Tokenizer};

use crate::data::rendered::{RenderedPart, RenderedText, SEPARATOR};
use crate::data::tokenizer::pairs::Encoded;
use crate::data::tokenizer::special::SpecialTokens;

/// Encodes rendered texts. Of each part the special tokens are found first, and what lies between
/// them is encoded as text in which there are none, whatever it spells.
#[derive(Debug)]
pub(crate) struct RenderedEncoder {
    /// Finds no special tokens.
    tokenizer: Tokenizer,
    /// The same for text that does not begin a text, where that makes a difference.
    inner: Option<Tokenizer>,
    special: SpecialTokens,
    /// The tokens that the tokenizer puts before a text.
    start: Vec<u32>,
}

/// A piece of a part: a token, or the position of a text among those to encode.
enum Piece {
    Token(u32),
    Text(usize),
}

/// Texts to encode.
#[derive(Default)]
struct Stretches {
    texts: Vec<String>,
    /// Whether each begins its whole text.
    first: Vec<bool>,
}

impl Stretches {
    fn piece(&mut self, text: &str, first: bool) -> Option<Piece> {
        let text = text.replace(SEPARATOR, "");
        if text.is_empty() {
            return None;
        }
        self.texts.push(text);
        self.first.push(first);
        Some(Piece::Text(self.texts.len() - 1))
    }
}

impl RenderedEncoder {
    /// Takes a tokenizer without truncation, padding and post-processor, and the tokens that it puts
    /// before a text.
    pub fn new(mut tokenizer: Tokenizer, start: Vec<u32>) -> Self {
        let special = SpecialTokens::of(&tokenizer);
        tokenizer.set_encode_special_tokens(true);
        let inner = continuing(&tokenizer);
        Self {
            tokenizer,
            inner,
            special,
            start,
        }
    }

    /// The special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The tokens of texts, of type 1 where they count in the loss, cut at the right.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode(
        &self,
        texts: &[RenderedText],
        end: u32,
        max_length: usize,
    ) -> tokenizers::Result<Vec<Encoded>> {
        let mut stretches = Stretches::default();
        let pieces: Vec<Vec<(Vec<Piece>, &RenderedPart)>> = texts
            .iter()
            .map(|text| {
                let parts = text.parts.iter().enumerate();
                parts
                    .map(|(at, part)| (self.pieces(&part.text, at == 0, &mut stretches), part))
                    .collect()
            })
            .collect();
        let encodings = self.encode_stretches(&stretches)?;
        let join = |(text, parts): (&RenderedText, Vec<(Vec<Piece>, &RenderedPart)>)| {
            let (mut ids, mut type_ids) = (Vec::new(), Vec::new());
            for (pieces, part) in parts {
                for piece in pieces {
                    match piece {
                        Piece::Token(id) => ids.push(id),
                        Piece::Text(at) => ids.extend(encodings[at].get_ids()),
                    }
                }
                ids.extend(part.ends.then_some(end));
                type_ids.resize(ids.len(), u32::from(part.counts));
            }
            if text.has_start && !ids.starts_with(&self.start) {
                ids.splice(0..0, self.start.iter().copied());
                type_ids.splice(0..0, self.start.iter().map(|_| 0));
            }
            let cut = ids.len() > max_length;
            ids.truncate(max_length);
            type_ids.truncate(max_length);
            Encoded { ids, type_ids, cut }
        };
        Ok(texts.iter().zip(pieces).map(join).collect())
    }

    fn pieces(&self, text: &str, begins: bool, stretches: &mut Stretches) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (at, token) in self.special.matches(text) {
            let before = &text[start..at.max(start)];
            let before = match token.takes_before {
                true => before.trim_end(),
                false => before,
            };
            pieces.extend(stretches.piece(before, begins && start == 0));
            pieces.push(Piece::Token(token.id));
            start = at + token.content.len();
            if token.takes_after {
                let rest = &text[start..];
                start += rest.len() - rest.trim_start().len();
            }
        }
        pieces.extend(stretches.piece(&text[start..], begins && start == 0));
        pieces
    }

    fn encode_stretches(&self, stretches: &Stretches) -> tokenizers::Result<Vec<Encoding>> {
        let Some(inner) = &self.inner else {
            return encode(&self.tokenizer, stretches.texts.iter());
        };
        let of = |first: bool| {
            let both = stretches.texts.iter().zip(&stretches.first);
            both.filter(move |(_, it)| **it == first)
                .map(|(text, _)| text)
        };
        let mut first = encode(&self.tokenizer, of(true))?.into_iter();
        let mut others = encode(inner, of(false))?.into_iter();
        let missing = || "the tokenizer lost a text".into();
        let next = |is_first: &bool| match is_first {
            true => first.next().ok_or_else(missing),
            false => others.next().ok_or_else(missing),
        };
        stretches.first.iter().map(next).collect()
    }
}

fn encode<'a>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = &'a String>,
) -> tokenizers::Result<Vec<Encoding>> {
    let texts = texts.map(|text| EncodeInput::Single(text.as_str().into()));
    tokenizer.encode_batch_fast(texts.collect(), false)
}

/// A tokenizer for text within a text, if it differs: SentencePiece's puts a space before the first
/// word of a text alone.
fn continuing(tokenizer: &Tokenizer) -> Option<Tokenizer> {
    let never = |it: &mut PreTokenizerWrapper| match it {
        PreTokenizerWrapper::Metaspace(space) if space.prepend_scheme == PrependScheme::First => {
            space.prepend_scheme = PrependScheme::Never;
            true
        }
        _ => false,
    };
    let mut pre = tokenizer.get_pre_tokenizer()?.clone();
    let differs = match &mut pre {
        PreTokenizerWrapper::Sequence(all) => {
            let changed: Vec<bool> = all.as_mut().iter_mut().map(never).collect();
            changed.contains(&true)
        }
        single => never(single),
    };
    let mut inner = differs.then(|| tokenizer.clone())?;
    inner.with_pre_tokenizer(Some(pre));
    Some(inner)
}

#[cfg(test)]
mod tests {
    use tokenizers::AddedToken;
    use tokenizers::models::wordlevel::WordLevel;
    use tokenizers::pre_tokenizers::metaspace::Metaspace;
    use tokenizers::pre_tokenizers::whitespace::Whitespace;

    use super::*;

    const END: u32 = 99;

    /// The words `a`, `b` and `▁a`, pieces of special tokens, and the special tokens themselves.
    fn tokenizer(pre: impl Into<PreTokenizerWrapper>) -> Tokenizer {
        let words = ["a", "b", "▁a", "</", "s", ">", "?", "▁b"];
        let vocabulary = words.map(str::to_owned).into_iter().zip(0..).collect();
        let model = WordLevel::builder()
            .vocab(vocabulary)
            .unk_token("?".to_owned())
            .build();
        let mut tokenizer = Tokenizer::new(model.unwrap());
        tokenizer.with_pre_tokenizer(Some(pre.into()));
        let special = ["<s>", "</s>"].map(|content| AddedToken::from(content, true));
        tokenizer.add_tokens(special).unwrap();
        tokenizer
    }

    fn text(parts: &[(&str, bool, bool)], has_start: bool) -> RenderedText {
        let part = |(text, counts, ends): &(&str, bool, bool)| RenderedPart {
            text: (*text).to_owned(),
            counts: *counts,
            ends: *ends,
        };
        RenderedText {
            parts: parts.iter().map(part).collect(),
            has_start,
        }
    }

    fn encoded(encoder: &RenderedEncoder, text: RenderedText, most: usize) -> Encoded {
        encoder.encode(&[text], END, most).unwrap().remove(0)
    }

    #[test]
    fn parts_become_tokens_with_what_counts_and_are_cut_at_the_right() {
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), vec![8]);
        let parts = [
            ("<s>a", false, false),
            ("b</s>", true, false),
            (" a", false, false),
            ("b", true, true),
        ];
        let whole = encoded(&encoder, text(&parts, true), 9);
        assert_eq!(whole.ids, [8, 0, 1, 9, 0, 1, END]);
        assert_eq!(whole.type_ids, [0, 0, 1, 1, 0, 1, 1]);
        assert!(!whole.cut);
        let cut = encoded(&encoder, text(&parts, true), 4);
        assert_eq!(
            (cut.ids, cut.type_ids, cut.cut),
            (vec![8, 0, 1, 9], vec![0, 0, 1, 1], true)
        );
    }

    #[test]
    fn the_token_at_the_start_is_there_once() {
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), vec![8]);
        for (start, has_start, ids) in [
            ("<s>a", true, &[8, 0][..]),
            ("a", true, &[8, 0]),
            ("a", false, &[0]),
        ] {
            let found = encoded(&encoder, text(&[(start, false, false)], has_start), 9);
            assert_eq!(found.ids, ids, "{start}");
            assert_eq!(found.type_ids.len(), ids.len());
        }
    }

    #[test]
    fn separated_tokens_are_text_and_the_templates_own_are_tokens() {
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), Vec::new());
        let own = encoder.special().separated("</s>");
        let found = encoded(
            &encoder,
            text(&[(&format!("a{own}</s>"), false, false)], false),
            9,
        );
        assert_eq!(found.ids, [0, 3, 4, 5, 9]);
    }

    #[test]
    fn a_space_before_the_first_word_is_put_before_the_first_of_the_text_alone() {
        let space = Metaspace::new('▁', PrependScheme::First, true);
        let encoder = RenderedEncoder::new(tokenizer(space), vec![8]);
        let parts = [("a", false, false), ("a</s>a b", true, false)];
        let found = encoded(&encoder, text(&parts, true), 9);
        assert_eq!(found.ids, [8, 2, 0, 9, 0, 7]);
    }
}
