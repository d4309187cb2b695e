//! Words, their compounds and their contractions.

use super::characters::{
    Found, Rule, at, begins, is_alphanumeric, is_apostrophe, is_digit, is_letter, run,
};

pub(super) const RULES: [Rule; 13] = [
    negated,
    negation,
    assimilated,
    it_is,
    clitic,
    shortened,
    elided,
    between_vowels,
    word,
    compound,
    mixed,
    underscored,
    slashed,
];

/// Letters up to white space or the end. Most tokens are such, and no rule looks past them.
pub(super) fn plain(text: &[char]) -> Option<Found> {
    let letters = run(text, |c| c.is_ascii_alphabetic());
    let ends = text.get(letters).is_none_or(|c| c.is_whitespace());
    let word = Found::token_of(letters).filter(|_| ends)?;
    Some(
        assimilated(&text[..letters])
            .filter(|it| it.reach == letters)
            .unwrap_or(word),
    )
}

/// `do` in `don't`.
fn negated(text: &[char]) -> Option<Found> {
    let letters = run(text, |c| c.is_ascii_alphabetic());
    let stem = letters.checked_sub(1)?;
    let is_negated = begins_negation(&text[stem..]) && !text[..stem].ends_with(&['n']);
    is_negated.then(|| Found::before(stem, 3))?
}

/// The rest of it, `n't`.
fn negation(text: &[char]) -> Option<Found> {
    let letters = run(text.get(2..)?, is_letter);
    let token = Found::token_of(2 + letters)?;
    begins_negation(text).then(|| match letters {
        1 if text[1] != '`' => token.written("n't"),
        _ => token,
    })
}

fn begins_negation(text: &[char]) -> bool {
    begins(text, "n")
        && at(text, 1, |c| is_apostrophe(c) || c == '`')
        && at(text, 2, |c| matches!(c, 't' | 'T'))
}

/// `can` in `cannot`, and other pairs of words written as one.
fn assimilated(text: &[char]) -> Option<Found> {
    let pairs = ["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"];
    let pair = pairs.iter().find(|pair| begins(text, pair))?;
    Found::before(3, pair.len() - 3)
}

/// `'t` in `'tis` and `'twas`.
fn it_is(text: &[char]) -> Option<Found> {
    if begins(text, "'tis") {
        Found::before(2, 2)
    } else if begins(text, "'twas") {
        Found::before(2, 3)
    } else {
        None
    }
}

/// `'s`, `'m`, `'d`, `'re`, `'ve`, `'ll`. Only after a straight apostrophe the word has to end there.
fn clitic(text: &[char]) -> Option<Found> {
    let after = text.get(1..).filter(|_| is_apostrophe(text[0]))?;
    let clitics = ["'s", "'m", "'d", "'re", "'ve", "'ll"];
    let clitic = clitics.iter().find(|clitic| begins(after, &clitic[1..]))?;
    let ends = !at(text, clitic.len(), |c| c.is_ascii_alphabetic());
    (ends || text[0] != '\'').then(|| Some(Found::token_of(clitic.len())?.written(clitic)))?
}

/// Words that begin with an apostrophe: `'n'`, `'em`, `'til`, `'cause`.
fn shortened(text: &[char]) -> Option<Found> {
    let after = text.get(1..).filter(|_| is_apostrophe(text[0]))?;
    if begins(after, "n") {
        let closes = at(after, 1, is_apostrophe);
        let ends = closes || text[0] != '\'' || !at(after, 1, is_letter);
        return ends.then(|| Found::token_of(2 + usize::from(closes)))?;
    }
    let words = ["em", "til", "cause"];
    let word = words.iter().find(|word| begins(after, word))?;
    Found::token_of(1 + word.len())
}

/// Words with an apostrophe after their first letter: `o'clock`, `d'oeuvre`, `y'` in `y'all`.
fn elided(text: &[char]) -> Option<Found> {
    let first = text.first().copied()?;
    let after = text.get(2..).filter(|_| is_apostrophe(text[1]))?;
    let letters = run(after, is_letter);
    if letters >= 2 && matches!(first, 'd' | 'l' | 'n' | 'o' | 'A'..='H' | 'J'..='X' | 'Z') {
        Found::token_of(2 + letters)
    } else if letters > 0 && "dljyDLJY".contains(first) && !"dmsDMS".contains(after[0]) {
        Found::before(2, 1)
    } else {
        None
    }
}

/// Words with an apostrophe between two vowels: `ma'am`.
fn between_vowels(text: &[char]) -> Option<Found> {
    let before = run(text, is_letter);
    let last = before.checked_sub(1).filter(|last| *last > 0)?;
    let after = text
        .get(before + 1..)
        .filter(|_| is_apostrophe(text[before]))?;
    let joins = "aeiouyAEIOUY".contains(text[last])
        && at(after, 0, |c| "aeiou".contains(c) || c.is_ascii_uppercase());
    joins.then(|| Found::token_of(before + 1 + run(after, is_letter)))?
}

/// Letters and digits from a letter on. A full stop between two letters does not part them.
fn word(text: &[char]) -> Option<Found> {
    Found::token_of(word_length(text))
}

fn word_length(text: &[char]) -> usize {
    let mut length = 0;
    while at(text, length, is_letter) {
        length += run(&text[length..], is_alphanumeric);
        if !at(text, length, |c| matches!(c, '.' | '!' | '?')) || !at(text, length + 1, is_letter) {
            return length;
        }
        length += 1;
    }
    length
}

/// Words and numbers with hyphens between them: `family-friendly`, `20-25`, `d'oeuvre-like`.
fn compound(text: &[char]) -> Option<Found> {
    Found::token_of(compound_length(text))
}

fn compound_length(text: &[char]) -> usize {
    let elided = at(text, 0, |c| "dDoOlL".contains(c)) && at(text, 1, is_apostrophe);
    let mut length = if elided { 2 } else { 0 };
    if !at(text, length, is_alphanumeric) {
        return 0;
    }
    length += run(&text[length..], |c| {
        is_alphanumeric(c) || c == '.' || c == ','
    });
    let mut parts = 0;
    while at(text, length, |c| c == '-') && at(text, length + 1, is_alphanumeric) {
        length += 1 + run(&text[length + 1..], is_alphanumeric);
        parts += 1;
    }
    if parts > 0 { length } else { 0 }
}

/// Letters and digits from a digit on: `5of5`, `20pounds`.
fn mixed(text: &[char]) -> Option<Found> {
    Found::token_of(run(text, is_alphanumeric))
}

/// Letters and digits with underscores or hyphens between them: `snake_case-too`.
fn underscored(text: &[char]) -> Option<Found> {
    let mut length = run(text, is_alphanumeric);
    if length == 0 {
        return None;
    }
    while at(text, length, |c| c == '_' || c == '-') && at(text, length + 1, is_alphanumeric) {
        length += 1 + run(&text[length + 1..], is_alphanumeric);
    }
    Found::token_of(length)
}

/// Two or three words with slashes between them, `and/or`, each with up to two hyphens.
fn slashed(text: &[char]) -> Option<Found> {
    let mut length = slashed_part(text);
    for _ in 0..2 {
        if length == 0 || !at(text, length, |c| c == '/') {
            break;
        }
        match slashed_part(&text[length + 1..]) {
            0 => break,
            more => length += 1 + more,
        }
    }
    Found::token_of(length).filter(|_| text[..length].contains(&'/'))
}

fn slashed_part(text: &[char]) -> usize {
    let mut length = run(text, |c| c.is_ascii_alphanumeric());
    for _ in 0..2 {
        let letters = at(text, length, |c| c == '-')
            .then(|| run(&text[length + 1..], |c| c.is_ascii_alphabetic()));
        if length > 0 {
            length += letters
                .filter(|letters| *letters > 0)
                .map_or(0, |it| it + 1);
        }
    }
    length
}

/// The length of the longest word, of any kind, at the beginning.
pub(super) fn any_word_length(text: &[char]) -> usize {
    let rules: [Rule; 7] = [
        elided,
        between_vowels,
        word,
        compound,
        mixed,
        underscored,
        slashed,
    ];
    let found = rules.iter().filter_map(|rule| rule(text));
    let lengths = found.filter(|found| found.length == found.reach);
    let length = lengths.map(|found| found.length).max().unwrap_or(0);
    length.max(run(text, is_digit))
}
