//! Punctuation, symbols, mark-up and addresses.

use super::characters::{Found, Rule, at, begins, is_alphanumeric, is_letter, is_symbol, run};

pub(super) const RULES: [Rule; 9] = [
    run_of_one, questions, single, entity, ampersand, tag, mark_up, address, smiley,
];

/// Several of the same: dashes, full stops, asterisks and others.
fn run_of_one(text: &[char]) -> Option<Found> {
    let first = *text.first()?;
    let length = run(text, |c| c == first);
    match (first, length) {
        ('-', 2..=4) => Some(Found::token_of(length)?.written("--")),
        ('.', 3..) => Some(Found::token_of(length)?.written("...")),
        ('-' | '*' | '_' | '#' | '@', 2..) => Found::token_of(length),
        ('<' | '>' | '\'' | '`', 2..) => Found::token_of(2),
        _ => None,
    }
}

fn questions(text: &[char]) -> Option<Found> {
    Found::token_of(run(text, |c| c == '?' || c == '!'))
}

/// A character by itself. Those that the treebank has no sign for are written as others.
fn single(text: &[char]) -> Option<Found> {
    let first = *text.first()?;
    let written = match first {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        '£' => "#",
        '€' | '¤' | '₢' | '₮' => "$",
        '¢' => "cents",
        '½' => "1/2",
        '¼' => "1/4",
        '¾' => "3/4",
        '⅓' => "1/3",
        '⅔' => "2/3",
        '"' | '“' | '”' | '«' | '»' => "''",
        '‘' | '‛' | '‹' | '’' | '›' => "'",
        '–' | '—' | '―' => "--",
        '…' => "...",
        _ if first.is_ascii_punctuation() || is_symbol(first) => return Found::token_of(1),
        _ => return None,
    };
    Some(Found::token_of(1)?.written(written))
}

/// `&amp;` and the like, as what they stand for; numbered ones are kept.
fn entity(text: &[char]) -> Option<Found> {
    let named = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "''"),
        ("&apos;", "'"),
    ];
    if let Some((name, written)) = named.iter().find(|(name, _)| begins(text, name)) {
        return Some(Found::token_of(name.len())?.written(written));
    }
    let digits = begins(text, "&#").then(|| run(&text[2..], |c| c.is_ascii_digit()))?;
    (digits > 0 && at(text, digits + 2, |c| c == ';')).then(|| Found::token_of(digits + 3))?
}

/// `AT&T`.
fn ampersand(text: &[char]) -> Option<Found> {
    let capitals = |text: &[char]| run(text, |c| c.is_ascii_uppercase());
    let left = capitals(text);
    let right = capitals(text.get(left + 1..)?);
    (left > 0 && text[left] == '&' && right > 0).then(|| Found::token_of(left + 1 + right))?
}

/// `#word` and `@word`.
fn tag(text: &[char]) -> Option<Found> {
    let is_tag = at(text, 0, |c| c == '#' || c == '@') && at(text, 1, |c| c.is_ascii_alphabetic());
    let also_underscore = at(text, 0, |c| c == '@');
    let is_inside = |c: char| c.is_ascii_alphanumeric() || also_underscore && c == '_';
    is_tag.then(|| Found::token_of(1 + run(&text[1..], is_inside)))?
}

/// A tag of mark-up: `<b>`, `</b>`, `<!...>`.
fn mark_up(text: &[char]) -> Option<Found> {
    let inside = text.get(1..).filter(|_| text[0] == '<')?;
    let is_declaration = at(inside, 0, |c| c == '!' || c == '?');
    let slash = usize::from(at(inside, 0, |c| c == '/'));
    let name = run(&inside[slash..], |c| is_name(c) && c.is_ascii());
    let after = slash + name;
    let is_element = name > 0
        && at(inside, slash, |c| c.is_ascii_alphabetic())
        && at(inside, after, |c| matches!(c, '>' | ' ' | '/'));
    let length = run(inside, |c| !matches!(c, '<' | '>' | '\n'));
    let closes = at(inside, length, |c| c == '>');
    (closes && (is_declaration || is_element)).then(|| Found::token_of(length + 2))?
}

fn is_name(c: char) -> bool {
    is_alphanumeric(c) || matches!(c, '-' | '.' | ':')
}

/// An address of a page or of mail.
fn address(text: &[char]) -> Option<Found> {
    let length = if begins(text, "http://") || begins(text, "www.") {
        let length = run(text, |c| !c.is_whitespace() && !"<>\"|(){}".contains(c));
        let is_end = |c: &char| !matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '-');
        text[..length]
            .iter()
            .rposition(is_end)
            .map_or(0, |last| last + 1)
    } else {
        let name = run(text, |c| c.is_ascii_alphanumeric() || "._-+".contains(c));
        let host = at(text, name, |c| c == '@').then(|| host_length(&text[name + 1..]))?;
        if name == 0 || host == 0 {
            return None;
        }
        name + 1 + host
    };
    Found::token_of(length)
}

fn host_length(text: &[char]) -> usize {
    let length = run(text, |c| {
        is_letter(c) && c.is_ascii() || c.is_ascii_digit() || ".-".contains(c)
    });
    let is_end = |c: &char| c.is_ascii_alphanumeric();
    text[..length]
        .iter()
        .rposition(is_end)
        .map_or(0, |last| last + 1)
}

/// Eyes, perhaps a nose, and a mouth: `:-)`.
fn smiley(text: &[char]) -> Option<Found> {
    let hat = usize::from(at(text, 0, |c| c == '<' || c == '>'));
    let nose = hat + 1 + usize::from(at(text, hat + 1, |c| "-o*'".contains(c)));
    let has_eyes = at(text, hat, |c| ":;=".contains(c));
    let has_mouth = at(text, nose, |c| "()DPdpO\\{@|[]".contains(c));
    let ends = !at(text, nose + 1, is_letter);
    (has_eyes && has_mouth && ends).then(|| Found::token_of(nose + 1))?
}
