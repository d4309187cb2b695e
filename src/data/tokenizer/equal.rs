//! Added tokens that are the same once normalized, as `Covid` and `covid` are to a lower-casing
//! tokenizer.
//!
//! Which of them a text's word is, the `tokenizers` library of today leaves to chance. The
//! version that transformers 4.46 takes finds the first: special ones before others, and then in
//! the order in which they were added.

use std::collections::{HashMap, HashSet};

use tokenizers::{
    AddedToken, AddedVocabulary, Model, NormalizedString, Normalizer, NormalizerWrapper, Tokenizer,
};

/// Leaves the first of added tokens that are the same once normalized, and takes the others out of
/// those that are looked for. `order` has the texts of all in the order in which they were added.
///
/// # Errors
/// If a token cannot be normalized.
pub(crate) fn keep_first(tokenizer: &mut Tokenizer, order: &[&str]) -> tokenizers::Result<()> {
    let mut tokens: Vec<(u32, AddedToken)> =
        tokenizer.get_added_tokens_decoder().into_iter().collect();
    let lost = later_ones(&tokens, order, tokenizer.get_normalizer())?;
    if lost.is_empty() {
        return Ok(());
    }
    tokens.sort_by_key(|(id, _)| *id);
    let model = tokenizer.get_model();
    let kept = tokens.iter().filter_map(|(id, token)| {
        if !lost.contains(id) {
            Some(token.clone())
        } else if model.token_to_id(&token.content).is_some() {
            None
        } else {
            // Its id stays taken, by a text of characters that no text has.
            Some(AddedToken::from(format!("\u{10ffff}{id}\u{10ffff}"), true))
        }
    });
    let mut vocabulary = AddedVocabulary::new();
    vocabulary.add_tokens(kept, model, tokenizer.get_normalizer())?;
    let is_same = |(id, token): &(u32, AddedToken)| {
        lost.contains(id) || vocabulary.get_vocab().get(&token.content) == Some(id)
    };
    if !tokens.iter().all(is_same) {
        return Err("its added tokens are the same once normalized, and have ids with gaps".into());
    }
    tokenizer.with_added_vocabulary(vocabulary);
    Ok(())
}

/// The ids of tokens that are, once normalized, the same as one that comes before them.
fn later_ones(
    tokens: &[(u32, AddedToken)],
    order: &[&str],
    normalizer: Option<&NormalizerWrapper>,
) -> tokenizers::Result<HashSet<u32>> {
    let place: HashMap<&str, usize> = order
        .iter()
        .rev()
        .copied()
        .zip((0..order.len()).rev())
        .collect();
    let place = |token: &AddedToken| place.get(token.content.as_str()).copied();
    let mut looked_for: Vec<_> = tokens
        .iter()
        .filter(|(_, token)| token.normalized)
        .collect();
    looked_for.sort_by_key(|(id, token)| (!token.special, place(token), *id));
    let mut seen = HashSet::new();
    let mut lost = HashSet::new();
    for (id, token) in looked_for {
        let mut text = NormalizedString::from(token.content.as_str());
        if let Some(normalizer) = normalizer {
            normalizer.normalize(&mut text)?;
        }
        if !seen.insert(text.get().to_owned()) {
            lost.insert(*id);
        }
    }
    Ok(lost)
}
