//! Texts as a template gives them: what is read and what is to be learnt, part by part.

/// Splits special tokens that a user's text happens to spell, so that only a template's own are found.
/// The code point is not a character, and texts that have it are refused; it is removed before a text
/// becomes tokens.
pub const SEPARATOR: char = '\u{fdd0}';

/// A text as a template gives it. Each part becomes tokens by itself, so that those of a prompt are
/// the same whether its answer follows or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenderedText {
    /// Its parts, in order.
    pub parts: Vec<RenderedPart>,
    /// Whether the tokens that the tokenizer puts before a text are added, unless it begins with them.
    pub has_start: bool,
}

/// A part of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenderedPart {
    /// Its text, with [`SEPARATOR`] in the special tokens that are not the template's.
    pub text: String,
    /// Whether the model's end token follows.
    pub ends: bool,
    /// Whether its tokens count in the loss.
    pub counts: bool,
}

impl RenderedPart {
    /// A part that is read.
    #[must_use]
    pub fn read(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// A part that is to be learnt.
    #[must_use]
    pub fn learnt(text: String, ends: bool) -> Self {
        Self {
            text,
            ends,
            counts: true,
        }
    }
}

impl RenderedText {
    /// The whole text, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let parts = self.parts.iter().map(|part| part.text.as_str());
        parts.collect::<String>().replace(SEPARATOR, "")
    }

    /// Feeds all that tokens depend on to a hasher.
    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[u8::from(self.has_start)]);
        hasher.update(&(self.parts.len() as u64).to_le_bytes());
        for part in &self.parts {
            hasher.update(&[u8::from(part.ends), u8::from(part.counts)]);
            hasher.update(&(part.text.len() as u64).to_le_bytes());
            hasher.update(part.text.as_bytes());
        }
    }
}
