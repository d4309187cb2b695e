//! Numbers, fractions, years and prices.

use super::characters::{Found, Rule, at, begins, is_apostrophe, is_digit, run};

pub(super) const RULES: [Rule; 5] = [number, fraction, year, decade, dollars];

/// Digits with `.`, `,` or `:` between or before them, and a sign.
fn number(text: &[char]) -> Option<Found> {
    let sign = usize::from(at(text, 0, |c| c == '+' || c == '-'));
    let mut length = sign + run(text.get(sign..)?, is_digit);
    while at(text, length, |c| matches!(c, '.' | ',' | ':')) && at(text, length + 1, is_digit) {
        length += 1 + run(&text[length + 1..], is_digit);
    }
    (length > sign).then(|| Found::token_of(length))?
}

/// `1/2`, `5 1/2`, `5-1/2`.
fn fraction(text: &[char]) -> Option<Found> {
    let whole = run(text, is_digit);
    let mixed = whole > 0 && at(text, whole, |c| matches!(c, ' ' | '-' | '\u{A0}'));
    let with_whole = mixed.then(|| simple_fraction(&text[whole + 1..]));
    match with_whole {
        Some(fraction) if fraction > 0 => Found::token_of(whole + 1 + fraction),
        _ => Found::token_of(simple_fraction(text)),
    }
}

fn simple_fraction(text: &[char]) -> usize {
    let numerator = run(text, is_digit);
    if numerator == 0 || !at(text, numerator, |c| c == '/') {
        return 0;
    }
    match run(&text[numerator + 1..], is_digit) {
        0 => 0,
        denominator => numerator + 1 + denominator,
    }
}

/// `'99`, before white space or the end.
fn year(text: &[char]) -> Option<Found> {
    let is_year = at(text, 0, is_apostrophe)
        && run(&text[1..], is_digit) == 2
        && text.get(3).is_none_or(|c| c.is_whitespace());
    is_year.then(|| Found::token_of(3))?
}

/// `'90s`.
fn decade(text: &[char]) -> Option<Found> {
    let is_decade = at(text, 0, is_apostrophe)
        && at(text, 1, |c| matches!(c, '1'..='9'))
        && begins(&text[2..], "0s");
    is_decade.then(|| Found::token_of(4))?
}

/// The currencies `US$`, `A$` and others that are named before the sign.
fn dollars(text: &[char]) -> Option<Found> {
    let letters = run(text, |c| c.is_ascii_uppercase());
    let country: String = text[..letters].iter().collect();
    let is_country = letters == 1 || ["US", "AU", "HK", "NZ"].contains(&&*country);
    let is_currency = is_country && at(text, letters, |c| c == '$');
    is_currency.then(|| Found::token_of(letters + 1))?
}
