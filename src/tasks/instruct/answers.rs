//! How a model writes answers: the same for every task on conversations, but for the scores.

use std::collections::BTreeMap;

use crate::data::error::DataError;
use crate::data::tokenize::TextEncoder;
use crate::model::generate::BeamSearch;
use crate::tasks::TextTask;
use crate::tasks::instruct::chat::Chat;
use crate::tasks::instruct::conversation::Conversation;
use crate::tasks::instruct::template::TemplateChoice;
use crate::tasks::metrics::generation::meteor::Meteor;
use crate::tasks::texts::{TextDefaults, WrittenText};

/// Greedy decoding.
const GREEDY: BeamSearch = BeamSearch {
    width: 1,
    length_penalty: 1.0,
    no_repeat_ngram: 0,
};

/// The most tokens of an answer.
const MAX_NEW_TOKENS: u32 = 256;

/// Answers to conversations.
#[derive(Debug, Clone, Copy)]
pub struct ChatAnswers {
    /// `None`: the model's own template or, where it has none, alpaca.
    pub template: Option<TemplateChoice>,
    /// See [`TextTask::score`].
    pub score: fn(&[WrittenText], Option<&Meteor>) -> BTreeMap<String, f64>,
}

impl ChatAnswers {
    /// The same with another template.
    #[must_use]
    pub fn with_template(self, template: TemplateChoice) -> Self {
        Self {
            template: Some(template),
            ..self
        }
    }

    /// How conversations become tokens of a model.
    #[must_use]
    pub fn chat(&self, encoder: &TextEncoder) -> Chat {
        let own = encoder.chat_template().map(|_| TemplateChoice::Model);
        Chat(self.template.or(own).unwrap_or(TemplateChoice::ALPACA))
    }
}

impl TextTask for ChatAnswers {
    fn defaults(&self) -> TextDefaults {
        TextDefaults {
            search: GREEDY,
            max_new_tokens: MAX_NEW_TOKENS,
        }
    }

    fn prompt(&self, text: &str) -> String {
        Conversation::of_question(text).to_text()
    }

    fn shown(&self, prompt: &str) -> String {
        Conversation::of_text(prompt).shown()
    }

    fn encode_prompts(
        &self,
        prompts: &[&str],
        encoder: &TextEncoder,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        self.chat(encoder).encode_prompts(prompts, encoder)
    }

    fn end_tokens(&self, encoder: &TextEncoder) -> Result<Vec<u32>, DataError> {
        self.chat(encoder).end_tokens(encoder)
    }

    fn score(&self, written: &[WrittenText], meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
        (self.score)(written, meteor)
    }
}
