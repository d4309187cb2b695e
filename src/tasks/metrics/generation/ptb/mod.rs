//! Tokens of the Penn Treebank, for ROUGE-L, CIDEr and METEOR.
//!
//! The reference is Stanford's PTBTokenizer 3.4.1 with `-preserveLines -lowerCase`, and after it the
//! removal of punctuation, as the COCO caption evaluation has them. The rules were found from what it
//! makes of texts, and give the same for all of E2E. Left out is what has no place there: telephone
//! numbers, named entities of HTML other than the five of XML, names of programming languages.
//!
//! Each text is taken by itself. The reference reads all lines as one text, so that the full stop of
//! an abbreviation at the end of a line may depend on the next line.

mod abbreviations;
mod characters;
mod numbers;
mod symbols;
mod words;

use self::characters::{Found, Rule};

/// The removed tokens. The reference lists brackets too, but in capitals, and its text is lower-case:
/// they stay.
const PUNCTUATION: [&str; 13] = [
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
];

/// The rule that looks furthest wins, the first of equals.
const RULES: [&[Rule]; 4] = [
    &words::RULES,
    &abbreviations::RULES,
    &numbers::RULES,
    &symbols::RULES,
];

/// The tokens of a text, lower-case and without punctuation. Line breaks are spaces.
#[must_use]
pub fn ptb_tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut rest = text.as_slice();
    while let Some(first) = rest.first() {
        let found = if first.is_whitespace() {
            None
        } else {
            longest(rest)
        };
        // What no rule takes, such as an emoji, is left out.
        let length = found.as_ref().map_or(1, |found| found.length);
        let token = found.map(|found| found.token(rest));
        tokens.extend(token.filter(|token| !PUNCTUATION.contains(&&**token)));
        rest = &rest[length..];
    }
    tokens
}

/// The same for ROUGE-L and CIDEr, where a text without tokens is one empty token.
#[must_use]
pub fn coco_tokens(text: &str) -> Vec<String> {
    let mut tokens = ptb_tokens(text);
    if tokens.is_empty() {
        tokens.push(String::new());
    }
    tokens
}

fn longest(rest: &[char]) -> Option<Found> {
    if let Some(plain) = words::plain(rest) {
        return Some(plain);
    }
    let rules = RULES.iter().copied().flatten();
    let found = rules.filter_map(|rule| rule(rest));
    found.reduce(|best, next| if next.reach > best.reach { next } else { best })
}

#[cfg(test)]
mod tests;
