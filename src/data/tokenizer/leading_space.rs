//! The space that SentencePiece's tokenizers put before the first word of a text. Which texts begin
//! with a first word, they decide differently: the whole text alone, or whatever follows a special
//! token as well. What continues other text never does.

use tokenizers::normalizers::Sequence;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// The tokenizer for text after a special token; `None`: the same as for a whole text.
pub(crate) fn after_token(tokenizer: &Tokenizer) -> Option<Tokenizer> {
    let pre = changed(tokenizer, |pre| {
        if let PreTokenizerWrapper::Metaspace(space) = pre
            && space.prepend_scheme == PrependScheme::First
        {
            space.prepend_scheme = PrependScheme::Never;
        }
    })?;
    let mut after_token = tokenizer.clone();
    after_token.with_pre_tokenizer(Some(pre));
    Some(after_token)
}

/// The tokenizer for text that continues other text; `None`: the same as for a whole text. A space
/// before an answer would make other tokens of it than it has where it is encoded with its question.
///
/// # Errors
/// If the tokenizer cannot be changed.
pub(crate) fn within(tokenizer: &Tokenizer) -> tokenizers::Result<Option<Tokenizer>> {
    let pre = changed(tokenizer, |pre| match pre {
        PreTokenizerWrapper::Metaspace(space) => space.prepend_scheme = PrependScheme::Never,
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.add_prefix_space = false,
        _ => {}
    });
    let normalizer = without_prepend(tokenizer);
    if pre.is_none() && normalizer.is_none() {
        return Ok(None);
    }
    let mut within = tokenizer.clone();
    if let Some(pre) = pre {
        within.with_pre_tokenizer(Some(pre));
    }
    if let Some(normalizer) = normalizer {
        // Added tokens are found in the same texts as before.
        let added = within.get_added_vocabulary().clone();
        within.with_normalizer(Some(normalizer))?;
        within.with_added_vocabulary(added);
    }
    Ok(Some(within))
}

/// A tokenizer's pre-tokenizers, changed; `None` if that makes no difference.
fn changed(
    tokenizer: &Tokenizer,
    change: impl Fn(&mut PreTokenizerWrapper),
) -> Option<PreTokenizerWrapper> {
    let own = tokenizer.get_pre_tokenizer()?;
    let mut pre = own.clone();
    match &mut pre {
        PreTokenizerWrapper::Sequence(all) => all.as_mut().iter_mut().for_each(change),
        single => change(single),
    }
    (pre != *own).then_some(pre)
}

/// A tokenizer's normalizers without those that put something before a text; `None` if it has none of
/// these.
fn without_prepend(tokenizer: &Tokenizer) -> Option<Sequence> {
    let own: &[NormalizerWrapper] = match tokenizer.get_normalizer()? {
        NormalizerWrapper::Sequence(all) => all.as_ref(),
        single => std::slice::from_ref(single),
    };
    let others = own.iter();
    let others = others.filter(|it| !matches!(it, NormalizerWrapper::Prepend(_)));
    let others: Vec<NormalizerWrapper> = others.cloned().collect();
    (others.len() < own.len()).then(|| Sequence::new(others))
}
