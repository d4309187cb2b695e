//! Tokens of NIST's script mteval-v13a, for BLEU and NIST.

/// The two forms in which the E2E challenge has the script. They differ in details only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The challenge's own, in Python (`measure_scores.py -p`): what is reported for E2E. All letters
    /// are lower-cased; a text without tokens counts as one empty token.
    Python,
    /// The original, in Perl. ASCII letters alone are lower-cased.
    Perl,
}

/// The tokens of a text, in lower case.
#[must_use]
pub fn mteval_tokens(text: &str, script: Script) -> Vec<String> {
    let text = match script {
        Script::Python => unescaped(text).to_lowercase(),
        Script::Perl => unescaped(text).to_ascii_lowercase(),
    };
    let text = number_dashes(&stops_before_others(&stops_after_others(&isolated(&text))));
    let text: String = text.into_iter().collect();
    let mut tokens: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if tokens.is_empty() && script == Script::Python {
        tokens.push(String::new());
    }
    tokens
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
}

/// Spaces around the text and around ASCII punctuation, but for `'`, `,`, `-` and `.`.
fn isolated(text: &str) -> Vec<char> {
    let mut isolated = vec![' '];
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '\'' | ',' | '-' | '.') {
            isolated.extend([' ', c, ' ']);
        } else {
            isolated.push(c);
        }
    }
    isolated.push(' ');
    isolated
}

fn is_stop(c: char) -> bool {
    c == '.' || c == ','
}

/// Parts a full stop or comma from what is before it, unless that is a digit.
fn stops_after_others(text: &[char]) -> Vec<char> {
    let is_pair = |a: char, b| !a.is_ascii_digit() && is_stop(b);
    replace_pairs(text, is_pair, |a, b| [a, ' ', b, ' '])
}

/// Parts a full stop or comma from what is after it, unless that is a digit.
fn stops_before_others(text: &[char]) -> Vec<char> {
    let is_pair = |a, b: char| is_stop(a) && !b.is_ascii_digit();
    replace_pairs(text, is_pair, |a, b| [' ', a, ' ', b])
}

/// Parts a hyphen from the digit before it.
fn number_dashes(text: &[char]) -> Vec<char> {
    let is_pair = |a: char, b| a.is_ascii_digit() && b == '-';
    replace_pairs(text, is_pair, |a, b| [a, ' ', b, ' '])
}

/// Replaces pairs of neighbours from left to right. A character is in one pair at most.
fn replace_pairs(
    text: &[char],
    is_pair: impl Fn(char, char) -> bool,
    replace: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut replaced = Vec::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match after.split_first() {
            Some((second, after)) if is_pair(*first, *second) => {
                replaced.extend(replace(*first, *second));
                rest = after;
            }
            _ => {
                replaced.push(*first);
                rest = after;
            }
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(text: &str) -> String {
        mteval_tokens(text, Script::Python).join(" ")
    }

    #[test]
    fn punctuation_is_parted_but_for_what_numbers_and_words_hold() {
        for (text, tokens) in [
            ("Cheap (really)!", "cheap ( really ) !"),
            (
                "£20-25, it's family-friendly.",
                "£20 - 25 , it's family-friendly .",
            ),
            ("1,200.50 and .5 and 5.", "1,200.50 and . 5 and 5 ."),
            ("5, 6.a", "5 , 6 . a"),
            ("a.,b", "a . , b"),
        ] {
            assert_eq!(python(text), tokens, "{text}");
        }
    }

    #[test]
    fn entities_are_read_one_after_the_other() {
        assert_eq!(python("&quot;a&amp;b&lt;"), "\" a & b <");
        assert_eq!(python("&amp;lt;"), "<");
    }

    #[test]
    fn the_scripts_differ_in_other_letters_and_in_empty_texts() {
        assert_eq!(python("CAFÉ"), "café");
        assert_eq!(mteval_tokens("CAFÉ", Script::Perl), ["cafÉ"]);
        assert_eq!(mteval_tokens(" ", Script::Python), [""]);
        assert!(mteval_tokens(" ", Script::Perl).is_empty());
    }
}
