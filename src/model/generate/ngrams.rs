//! Tokens that would repeat an n-gram.

/// The tokens that would complete an n-gram which is already in the text.
pub(crate) fn repeating(text: &[i64], n: usize) -> Vec<i64> {
    let Some(before) = n.checked_sub(1) else {
        return Vec::new();
    };
    let Some(begun) = text.len().checked_sub(before).map(|start| &text[start..]) else {
        return Vec::new();
    };
    let ngrams = text.windows(n);
    let mut tokens: Vec<i64> = ngrams
        .filter(|ngram| ngram[..before] == *begun)
        .map(|ngram| ngram[before])
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_completes_a_known_ngram_is_found() {
        assert_eq!(repeating(&[1, 2, 3, 1, 2], 3), [3]);
        assert_eq!(repeating(&[1, 2, 1, 3, 1], 2), [2, 3]);
        assert_eq!(repeating(&[5, 6], 1), [5, 6]);
        assert_eq!(repeating(&[1, 1, 1], 2), [1]);
    }

    #[test]
    fn a_text_shorter_than_an_ngram_repeats_none_and_zero_is_off() {
        assert!(repeating(&[1, 2], 4).is_empty());
        assert!(repeating(&[], 1).is_empty());
        assert!(repeating(&[1, 1, 1], 0).is_empty());
    }
}
