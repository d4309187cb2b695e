//! What a tokenizer could not read of texts: those in a writing that it does not know are many unknown
//! tokens, which a model cannot tell apart, and some characters it drops.

use std::collections::BTreeSet;

use tokenizers::Tokenizer;

use crate::data::encoded::{Counts, EncodedSplit};
use crate::data::tokenize::TextEncoder;
use crate::data::tokenizer::unknown::unknown_token;

/// One unknown token in this many is warned of.
const MANY: usize = 5;

/// What was not read of a split's texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Examples without a token but those that any text is given.
    pub empty: usize,
    /// Unknown tokens.
    pub unknown: usize,
    /// All tokens but those that any text is given.
    pub tokens: usize,
}

impl Unread {
    /// What was not read of a split.
    pub fn of(split: &EncodedSplit, tokenizer: &Tokenizer) -> Self {
        let unknown = unknown_token(tokenizer);
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let special = added.filter(|(_, token)| token.special).map(|(id, _)| id);
        let special: BTreeSet<u32> = special.filter(|id| Some(*id) != unknown).collect();
        let mut unread = Self::default();
        for at in 0..split.len() {
            let mut tokens = 0;
            for id in split.ids(at).iter().filter(|id| !special.contains(id)) {
                tokens += 1;
                unread.unknown += usize::from(Some(*id) == unknown);
            }
            unread.tokens += tokens;
            unread.empty += usize::from(tokens == 0);
        }
        unread
    }
}

impl TextEncoder {
    /// Warns of texts of which the tokenizer leaves nothing, and of many unknown tokens, in a split
    /// whose labels are learnt.
    pub fn warn_of_unread(&self, split: &EncodedSplit) {
        if split.counts() == Counts::Answers {
            return;
        }
        let name = split.name();
        let unread = Unread::of(split, self.encoder.tokenizer());
        if unread.empty > 0 {
            tracing::warn!(
                "the model's tokenizer leaves no token of {} of {} examples of the {name} split: it \
                 drops all of their characters",
                unread.empty,
                split.len()
            );
        }
        if unread.unknown > 0 && unread.unknown * MANY >= unread.tokens {
            tracing::warn!(
                "{:.0} % of the tokens of the {name} split are unknown to the model's tokenizer, so \
                 that the model cannot tell them apart; see `regatta data --show 3`, and choose a \
                 model for the texts' language",
                100.0 * unread.unknown as f64 / unread.tokens as f64
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;
    use crate::data::schema::SplitName;
    use crate::data::split::{Example, Split};
    use crate::data::token_cache::Tokens;
    use crate::data::tokenizer::pairs::Encoded;

    #[test]
    fn unknown_tokens_and_texts_without_tokens_are_counted_beside_special_ones() {
        let tokenizer = Tokenizer::from_str(
            r#"{"added_tokens": [
                {"id": 0, "content": "[CLS]", "single_word": false, "lstrip": false,
                 "rstrip": false, "normalized": false, "special": true},
                {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false,
                 "rstrip": false, "normalized": false, "special": true}],
                "model": {"type": "WordLevel", "unk_token": "[UNK]",
                 "vocab": {"[CLS]": 0, "[UNK]": 1, "a": 2}}}"#,
        )
        .unwrap();
        let mut split = Split::new(false, SplitName::Train);
        let mut tokens = Tokens::default();
        for (id, ids) in (0..).zip([vec![0, 2, 1], vec![0], vec![0, 1]]) {
            split.push(Example {
                id,
                text_a: "a",
                text_b: None,
                label: Some(0.0),
            });
            let encoded = Encoded {
                type_ids: vec![0; ids.len()],
                ids,
                cut: false,
            };
            tokens.push(&encoded, false);
        }
        let encoded = EncodedSplit::new(&split, tokens, Counts::Labels);
        let expected = Unread {
            empty: 1,
            unknown: 2,
            tokens: 3,
        };
        assert_eq!(Unread::of(&encoded, &tokenizer), expected);
    }
}
