//! A post-processor that puts a start token before each text and an end token behind it.

use tokenizers::processors::template::TemplateProcessing;

/// A special token with its id.
pub(crate) type SpecialToken = (String, u32);

/// The post-processor for a start token and an end token, of which either may be missing.
///
/// # Errors
/// If a token's text cannot stand in a template.
pub(crate) fn around(
    start: Option<SpecialToken>,
    end: Option<SpecialToken>,
) -> tokenizers::Result<TemplateProcessing> {
    let name = |token: &Option<SpecialToken>| token.as_ref().map(|token| token.0.clone());
    let pieces = |text: &str| -> Vec<String> {
        let pieces = [name(&start), Some(text.to_owned()), name(&end)];
        pieces.into_iter().flatten().collect()
    };
    let mut builder = TemplateProcessing::builder();
    builder.try_single(pieces("$A"))?;
    builder.try_pair([pieces("$A"), pieces("$B")].concat())?;
    let special: Vec<SpecialToken> = start.into_iter().chain(end).collect();
    builder.special_tokens(special);
    Ok(builder.build()?)
}
