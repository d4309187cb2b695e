//! From rendered texts to token ids.

use tokenizers::{EncodeInput, Encoding, Tokenizer};

use crate::data::rendered::{RenderedPart, RenderedText, SEPARATOR};
use crate::data::tokenizer::leading_space;
use crate::data::tokenizer::pairs::Encoded;
use crate::data::tokenizer::special::SpecialTokens;

/// Encodes rendered texts. Of each part the special tokens are found first, and what lies between
/// them is encoded as text in which there are none, whatever it spells.
#[derive(Debug)]
pub(crate) struct RenderedEncoder {
    /// For the beginning of a text. Finds no special tokens.
    tokenizer: Tokenizer,
    /// The same for text after a special token, where that makes a difference.
    after_token: Option<Tokenizer>,
    /// The same for text that continues other text, where that makes a difference.
    within: Option<Tokenizer>,
    special: SpecialTokens,
    /// The tokens that the tokenizer puts before a text.
    start: Vec<u32>,
}

/// A piece of a part: a token, or the position of a text among those to encode.
enum Piece {
    Token(u32),
    Text(usize),
}

/// What is before a stretch of text, on which it depends whether a tokenizer puts a space before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preceding {
    Nothing,
    Token,
    Text,
}

/// Texts to encode.
#[derive(Default)]
struct Stretches {
    texts: Vec<String>,
    /// What is before each.
    before: Vec<Preceding>,
}

impl Stretches {
    /// Adds a text, unless it is empty; `before` is then what is before the next.
    fn piece(&mut self, text: &str, before: &mut Preceding) -> Option<Piece> {
        let text = text.replace(SEPARATOR, "");
        if text.is_empty() {
            return None;
        }
        self.texts.push(text);
        self.before.push(std::mem::replace(before, Preceding::Text));
        Some(Piece::Text(self.texts.len() - 1))
    }

    /// The texts that have this before them.
    fn after(&self, before: Preceding) -> impl Iterator<Item = &String> {
        let both = self.texts.iter().zip(&self.before);
        both.filter(move |(_, own)| **own == before)
            .map(|(text, _)| text)
    }
}

impl RenderedEncoder {
    /// Takes a tokenizer without truncation, padding and post-processor, and the tokens that it puts
    /// before a text.
    ///
    /// # Errors
    /// If the tokenizer cannot do without a space before texts.
    pub fn new(mut tokenizer: Tokenizer, start: Vec<u32>) -> tokenizers::Result<Self> {
        let special = SpecialTokens::of(&tokenizer);
        tokenizer.set_encode_special_tokens(true);
        Ok(Self {
            after_token: leading_space::after_token(&tokenizer),
            within: leading_space::within(&tokenizer)?,
            tokenizer,
            special,
            start,
        })
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
                let mut before = Preceding::Nothing;
                let pieces = |part| (self.pieces(part, &mut before, &mut stretches), part);
                text.parts.iter().map(pieces).collect()
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

    /// The pieces of a part; `before` is what is before it, and then what is before the next.
    fn pieces(
        &self,
        part: &RenderedPart,
        before: &mut Preceding,
        stretches: &mut Stretches,
    ) -> Vec<Piece> {
        let text = part.text.as_str();
        let mut pieces = Vec::new();
        let mut start = 0;
        for (at, token) in self.special.matches(text) {
            let stretch = &text[start..at.max(start)];
            let stretch = match token.takes_before {
                true => stretch.trim_end(),
                false => stretch,
            };
            pieces.extend(stretches.piece(stretch, before));
            pieces.push(Piece::Token(token.id));
            *before = Preceding::Token;
            start = at + token.content.len();
            if token.takes_after {
                let rest = &text[start..];
                start += rest.len() - rest.trim_start().len();
            }
        }
        pieces.extend(stretches.piece(&text[start..], before));
        if part.ends {
            *before = Preceding::Token;
        }
        pieces
    }

    fn encode_stretches(&self, stretches: &Stretches) -> tokenizers::Result<Vec<Encoding>> {
        let encoded = |before: Preceding, own: Option<&Tokenizer>| {
            encode(own.unwrap_or(&self.tokenizer), stretches.after(before))
        };
        let mut first = encoded(Preceding::Nothing, None)?.into_iter();
        let mut after_token = encoded(Preceding::Token, self.after_token.as_ref())?.into_iter();
        let mut within = encoded(Preceding::Text, self.within.as_ref())?.into_iter();
        let missing = || "the tokenizer lost a text".into();
        let next = |before: &Preceding| {
            let own = match before {
                Preceding::Nothing => first.next(),
                Preceding::Token => after_token.next(),
                Preceding::Text => within.next(),
            };
            own.ok_or_else(missing)
        };
        stretches.before.iter().map(next).collect()
    }
}

fn encode<'a>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = &'a String>,
) -> tokenizers::Result<Vec<Encoding>> {
    let texts = texts.map(|text| EncodeInput::Single(text.as_str().into()));
    tokenizer.encode_batch_fast(texts.collect(), false)
}

#[cfg(test)]
mod tests {
    use tokenizers::models::wordlevel::WordLevel;
    use tokenizers::normalizers::Prepend;
    use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
    use tokenizers::pre_tokenizers::whitespace::Whitespace;
    use tokenizers::{AddedToken, PreTokenizerWrapper};

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
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), vec![8]).unwrap();
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
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), vec![8]).unwrap();
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
        let encoder = RenderedEncoder::new(tokenizer(Whitespace), Vec::new()).unwrap();
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
        let encoder = RenderedEncoder::new(tokenizer(space), vec![8]).unwrap();
        let parts = [("a", false, false), ("a</s>a b", true, false)];
        let found = encoded(&encoder, text(&parts, true), 9);
        assert_eq!(found.ids, [8, 2, 0, 9, 0, 7]);
    }

    #[test]
    fn an_answer_begins_as_it_would_within_the_text_whatever_puts_spaces_before_texts() {
        let always = tokenizer(Metaspace::new('▁', PrependScheme::Always, true));
        // As Llama 2 and Mistral have it.
        let mut prepending = tokenizer(Metaspace::new('▁', PrependScheme::Never, true));
        let normalizer = Prepend::new("▁".to_owned());
        prepending.with_normalizer(Some(normalizer)).unwrap();
        for tokenizer in [always, prepending] {
            let encoder = RenderedEncoder::new(tokenizer, vec![8]).unwrap();
            let parts = [
                ("a", false, false),
                (" b", true, true),
                ("a", false, false),
                ("a</s>b", true, false),
            ];
            let found = encoded(&encoder, text(&parts, true), 99);
            assert_eq!(found.ids, [8, 2, 7, END, 2, 0, 9, 7]);
        }
    }
}
