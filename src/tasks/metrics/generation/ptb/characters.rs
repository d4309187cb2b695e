//! Classes of characters, and what a rule finds.

/// Finds a token at the beginning of a text, which has a character at least.
pub(super) type Rule = fn(&[char]) -> Option<Found>;

/// What a rule found at the beginning of a text, in characters.
pub(super) struct Found {
    /// The length of the token; at least 1.
    pub length: usize,
    /// How far the rule looked: the token and what had to follow it.
    pub reach: usize,
    /// What is written in place of the characters; `None` for themselves in lower case.
    pub written: Option<&'static str>,
}

impl Found {
    /// A token of this length, if there is any.
    pub fn token_of(length: usize) -> Option<Self> {
        Self::before(length, 0)
    }

    /// A token of this length, given that as many characters more are what they have to be.
    pub fn before(length: usize, following: usize) -> Option<Self> {
        (length > 0).then_some(Self {
            length,
            reach: length + following,
            written: None,
        })
    }

    /// The same, written differently.
    pub fn written(self, written: &'static str) -> Self {
        Self {
            written: Some(written),
            ..self
        }
    }

    /// The token in the text where it was found. A space inside it does not break, and round
    /// brackets are written as in the treebank wherever they are.
    pub fn token(&self, text: &[char]) -> String {
        if let Some(written) = self.written {
            return written.to_owned();
        }
        let mut token = String::new();
        for c in &text[..self.length] {
            match c {
                '(' => token.push_str("-lrb-"),
                ')' => token.push_str("-rrb-"),
                ' ' => token.push('\u{A0}'),
                _ => token.extend(c.to_lowercase()),
            }
        }
        token
    }
}

/// How many characters at the beginning are of a class.
pub(super) fn run(text: &[char], is: impl Fn(char) -> bool) -> usize {
    text.iter().take_while(|c| is(**c)).count()
}

/// Whether the character at a place is there and of a class.
pub(super) fn at(text: &[char], place: usize, is: impl Fn(char) -> bool) -> bool {
    text.get(place).is_some_and(|c| is(*c))
}

/// Whether a text begins so, in any case.
pub(super) fn begins(text: &[char], with: &str) -> bool {
    let mut text = text.iter();
    with.chars()
        .all(|c| text.next().is_some_and(|t| t.eq_ignore_ascii_case(&c)))
}

/// Letters, with combining accents and the hyphens that do not part words.
pub(super) fn is_letter(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '\u{300}'..='\u{36F}' | '\u{2010}' | '\u{2011}')
}

pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

pub(super) fn is_alphanumeric(c: char) -> bool {
    is_letter(c) || is_digit(c)
}

pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}

/// Characters beyond ASCII that are tokens of their own. Others that are not letters are left out.
pub(super) fn is_symbol(c: char) -> bool {
    let latin = "¡¥¦§¨©¬®¯°±²³´¶·¸¹¿×÷‚„†‡•";
    let is_other = matches!(c, '\u{2030}'..='\u{205E}' | '\u{2070}'..='\u{208E}'
        | '\u{2100}'..='\u{2BFF}' | '\u{3001}' | '\u{3002}' | '\u{FF01}'..='\u{FF65}');
    latin.contains(c) || is_other && !is_letter(c)
}
