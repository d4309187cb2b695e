//! Special tokens in the text of a template, and texts in which none is to be found.

use std::collections::BTreeMap;

use tokenizers::Tokenizer;

use crate::data::rendered::SEPARATOR;

/// A special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpecialText {
    pub content: String,
    pub id: u32,
    /// Whether it takes the white space before it.
    pub takes_before: bool,
    /// Whether it takes the white space after it.
    pub takes_after: bool,
}

/// A tokenizer's special tokens.
#[derive(Debug, Default)]
pub(crate) struct SpecialTokens {
    /// By their first characters, longer ones first.
    by_first: BTreeMap<char, Vec<SpecialText>>,
}

impl SpecialTokens {
    /// Those of a tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let mut by_first: BTreeMap<char, Vec<SpecialText>> = BTreeMap::new();
        for (id, token) in tokenizer.get_added_tokens_decoder() {
            let Some(first) = token.content.chars().next().filter(|_| token.special) else {
                continue;
            };
            by_first.entry(first).or_default().push(SpecialText {
                content: token.content,
                id,
                takes_before: token.lstrip,
                takes_after: token.rstrip,
            });
        }
        for tokens in by_first.values_mut() {
            tokens.sort_by(|a, b| (b.content.len(), a.id).cmp(&(a.content.len(), b.id)));
        }
        Self { by_first }
    }

    /// The token of this text.
    pub fn find(&self, content: &str) -> Option<&SpecialText> {
        let tokens = self.by_first.get(&content.chars().next()?)?;
        tokens.iter().find(|token| token.content == content)
    }

    /// The tokens in a text, with the places that they begin at.
    pub fn matches<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a SpecialText)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (at, token) = self.next_from(text, from)?;
            from = at + token.content.len();
            Some((at, token))
        })
    }

    fn next_from<'a>(&'a self, text: &str, from: usize) -> Option<(usize, &'a SpecialText)> {
        let rest = text.get(from..)?;
        rest.char_indices().find_map(|(at, first)| {
            let tokens = self.by_first.get(&first)?;
            let here = &rest[at..];
            let token = tokens.iter().find(|it| here.starts_with(&it.content))?;
            Some((from + at, token))
        })
    }

    /// A user's text, in which no special token is found any more.
    pub fn separated(&self, text: &str) -> String {
        let mut separated = String::with_capacity(text.len());
        let mut end = 0;
        let mut from = 0;
        while let Some((at, _)) = self.next_from(text, from) {
            let first = text[at..].chars().next().map_or(1, char::len_utf8);
            separated.push_str(&text[end..at + first]);
            separated.push(SEPARATOR);
            end = at + first;
            from = end;
        }
        separated + &text[end..]
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::AddedToken;
    use tokenizers::models::wordlevel::WordLevel;

    use super::*;

    fn tokens() -> SpecialTokens {
        let mut tokenizer = Tokenizer::new(WordLevel::default());
        let special = ["<|a|>", "<|a|>b", "<é>", "[X]"];
        let added = special.map(|content| AddedToken::from(content, true));
        tokenizer.add_tokens(added).unwrap();
        tokenizer
            .add_tokens([AddedToken::from("<think>", false)])
            .unwrap();
        SpecialTokens::of(&tokenizer)
    }

    #[test]
    fn the_longest_token_at_a_place_is_found_and_those_that_are_not_special_are_not() {
        let tokens = tokens();
        let text = "x<|a|>b<|a|><think><é><|a";
        let found: Vec<_> = tokens.matches(text).collect();
        let found: Vec<_> = found.iter().map(|(at, it)| (*at, &*it.content)).collect();
        assert_eq!(found, [(1, "<|a|>b"), (7, "<|a|>"), (19, "<é>")]);
        assert!(tokens.find("[X]").is_some() && tokens.find("[Y]").is_none());
    }

    #[test]
    fn none_is_found_in_a_separated_text_and_without_separators_it_is_as_it_was() {
        let tokens = tokens();
        for text in ["", "plain", "<|a|>", "<<|a|>b[X]<|a|>é<é>"] {
            let separated = tokens.separated(text);
            assert_eq!(tokens.matches(&separated).count(), 0, "{text}");
            assert_eq!(separated.replace(SEPARATOR, ""), text);
        }
        assert_eq!(tokens.separated("plain"), "plain");
    }
}
