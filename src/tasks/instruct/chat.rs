//! Splits of conversations as tokens, by a template.

use std::path::Path;

use crate::data::encoded::EncodedSplit;
use crate::data::error::{DataError, SourceSpan};
use crate::data::rendered::RenderedText;
use crate::data::split::{Example, Split};
use crate::data::tokenize::TextEncoder;
use crate::tasks::instruct::conversation::Conversation;
use crate::tasks::instruct::template::{Template, TemplateChoice};

/// How conversations become tokens: in training, in evaluation, and to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Chat(pub TemplateChoice);

impl Chat {
    /// Turns conversations and their answers into tokens; see
    /// [`Task::encode`](crate::tasks::Task::encode).
    ///
    /// # Errors
    /// If the template cannot be used, or does not take a conversation: which, with its file and
    /// line. And as [`TextEncoder::encode_rendered`].
    pub fn encode(
        self,
        split: &Split,
        encoder: &TextEncoder,
        cache: Option<&Path>,
    ) -> Result<EncodedSplit, DataError> {
        let template = Template::new(self.0, encoder)?;
        let render = |(at, example): (usize, Example<'_>)| {
            let conversation = Conversation::of_text(example.text_a);
            let answer = example.text_b.filter(|answer| !answer.is_empty());
            let rendered = template.render(&conversation, answer);
            rendered.map_err(|reason| self.refused(split.place(at), reason))
        };
        let texts: Vec<RenderedText> = split
            .iter()
            .enumerate()
            .map(render)
            .collect::<Result<_, _>>()?;
        encoder.encode_rendered(split, &texts, cache)
    }

    /// The tokens of conversations up to their answers.
    ///
    /// # Errors
    /// As [`Chat::encode`].
    pub fn encode_prompts(
        self,
        prompts: &[&str],
        encoder: &TextEncoder,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let template = Template::new(self.0, encoder)?;
        let render = |prompt: &&str| {
            let rendered = template.render(&Conversation::of_text(prompt), None);
            rendered.map_err(|reason| {
                let conversation = Conversation::of_text(prompt).shown();
                self.refused(
                    None,
                    format!("{reason}; the conversation is {conversation:?}"),
                )
            })
        };
        let texts: Vec<RenderedText> = prompts.iter().map(render).collect::<Result<_, _>>()?;
        encoder.encode_rendered_prompts(&texts)
    }

    /// The tokens that end an answer: the model's, and the template's.
    ///
    /// # Errors
    /// If the template cannot be used.
    pub fn end_tokens(self, encoder: &TextEncoder) -> Result<Vec<u32>, DataError> {
        let template = Template::new(self.0, encoder)?;
        let mut tokens = encoder.end_tokens().to_vec();
        let own = template.end_token();
        tokens.extend(own.filter(|id| !encoder.end_tokens().contains(id)));
        Ok(tokens)
    }

    /// Warns of special tokens of the template that the tokenizer lacks.
    ///
    /// # Errors
    /// If the template cannot be used.
    pub(crate) fn warn_of_missing_tokens(self, encoder: &TextEncoder) -> Result<(), DataError> {
        if let Some(notice) = Template::new(self.0, encoder)?.notice() {
            tracing::warn!("{notice}");
        }
        Ok(())
    }

    fn refused(self, place: Option<SourceSpan>, reason: String) -> DataError {
        DataError::Template {
            template: self.0.to_string(),
            place,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
