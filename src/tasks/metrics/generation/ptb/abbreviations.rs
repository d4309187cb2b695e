//! Abbreviations, which keep their full stop.

use super::characters::{Found, Rule, at, begins, is_digit, is_letter, run};
use super::words::any_word_length;

pub(super) const RULES: [Rule; 5] = [listed, counted, initials, degree, before_a_stop];

/// Words that are abbreviated however they are written.
const ANY_CASE: &str = " adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bhd bldg \
    blvd brig bros capt cf cie cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs \
    elec ens esq est etc ext feb fla fri ft ga gen gov govs hon inc ind insp intl invt jan jos jr \
    jul jun kan kans ky lieut lt ltd maj mar md messrs mich minn mlle mme mo mon mont mr mrs ms \
    msgr mt natl neb nev nov oct okla penn pfc ph plc pres prof profs pvt rd rep reps rev rt sen \
    sens sep sept seq sfc sgt spc sq sr st ste supt sys tel tenn thu thurs treas tue tues univ va \
    vs vt wed wis wisc wm wyo ";

/// Those that are words in small letters: `Mass.`, `Wash.`.
const CAPITALISED: &str = " ark az del ill la mass miss ore pa tex wash ";

/// Those that are not written in capitals alone.
const NOT_IN_CAPITALS: &str = " mfg mtg ppte ppty pte ptes pty ptys ";

/// Those that are abbreviations before a number alone: `no. 5`.
const BEFORE_NUMBERS: &str = " art ca fig figs no nos op pp prop ";

/// Words that begin a sentence: before one of them, a letter with a full stop is not an initial.
const BEGINNINGS: &str = " a about according additionally after an as at but earlier he her here \
    however if in it last many more now one other our she since so some such that the their then \
    there these they this we what when while yet you ";

fn holds(list: &str, word: &[char]) -> bool {
    let word: String = word.iter().collect::<String>().to_lowercase();
    list.contains(&format!(" {word} "))
}

/// The letters at the beginning, if a full stop follows.
fn stopped(text: &[char]) -> Option<&[char]> {
    let letters = run(text, |c| c.is_ascii_alphabetic());
    let is_stopped = letters > 0 && at(text, letters, |c| c == '.');
    is_stopped.then(|| &text[..letters])
}

fn listed(text: &[char]) -> Option<Found> {
    let word = stopped(text)?;
    let is_capitalised = word[0].is_uppercase();
    let in_capitals = word.iter().all(|c| c.is_uppercase());
    let is_listed = holds(ANY_CASE, word)
        || is_capitalised && holds(CAPITALISED, word)
        || !in_capitals && holds(NOT_IN_CAPITALS, word);
    is_listed.then(|| Found::token_of(word.len() + 1))?
}

fn counted(text: &[char]) -> Option<Found> {
    let word = stopped(text).filter(|word| holds(BEFORE_NUMBERS, word))?;
    let length = word.len() + 1;
    let space = usize::from(at(text, length, char::is_whitespace));
    at(text, length + space, is_digit).then(|| Found::before(length, space + 1))?
}

/// A letter or several, each with a full stop: `I.`, `U.K.`. The last may go without.
fn initials(text: &[char]) -> Option<Found> {
    let is_initial = |place| at(text, place, |c| c.is_ascii_alphabetic());
    let mut length = 0;
    while is_initial(length) && at(text, length + 1, |c| c == '.') {
        length += 2;
    }
    if length == 2 && begins_sentence(&text[2..]) {
        return None;
    }
    if length > 0 && is_initial(length) && !at(text, length + 1, is_letter) {
        length += 1;
    }
    Found::token_of(length)
}

fn begins_sentence(text: &[char]) -> bool {
    let space = run(text, char::is_whitespace);
    let word = &text[space..];
    let word = &word[..run(word, |c| c.is_ascii_alphabetic())];
    space > 0 && word.first().is_some_and(|c| c.is_uppercase()) && holds(BEGINNINGS, word)
}

fn degree(text: &[char]) -> Option<Found> {
    begins(text, "ph.d.").then(|| Found::token_of(5))?
}

/// Any word before a full stop and a comma, colon or semicolon: the full stop stays with the word.
fn before_a_stop(text: &[char]) -> Option<Found> {
    let length = any_word_length(text);
    let is_stopped =
        at(text, length, |c| c == '.') && at(text, length + 1, |c| matches!(c, ',' | ';' | ':'));
    (length > 0 && is_stopped).then(|| Found::before(length + 1, 1))?
}
